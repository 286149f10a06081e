"""Why a run failed, kept in its folder until it goes on: whoever looks later, from another terminal or process, can read it."""

import contextlib
import json
from collections.abc import Generator
from datetime import datetime
from pathlib import Path

from ssl_cli.errors import ConfigError, TrainingError
from ssl_cli.runs import claim
from ssl_cli.runs.files import write

NAME = "failed.json"


@contextlib.contextmanager
def noted(folder: Path) -> Generator[None]:
    """What ends the work in a run's folder stands in `failed.json`; an earlier failure is forgotten when the run goes on.

    A run that was asked to stop has not failed.
    """
    (folder / NAME).unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        said = str(error) if isinstance(error, (TrainingError, ConfigError)) else f"{type(error).__name__}: {error}"
        when = datetime.now().astimezone().isoformat(timespec="seconds")
        with contextlib.suppress(
            OSError, TrainingError
        ):  # a full disk, or another process at work, may be what it failed of
            claim.check_held(folder)
            write(folder / NAME, json.dumps({"error": said, "when": when}, indent=1) + "\n")
        raise
