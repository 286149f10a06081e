"""Why a run failed, kept in its folder until it goes on: whoever looks later, from another terminal or process, can read it."""

import contextlib
import json
from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ssl_cli.errors import ConfigError, TrainingError
from ssl_cli.runs import claim
from ssl_cli.runs.files import write
from ssl_cli.runs.reading import read_json

NAME = "failed.json"


@dataclass(frozen=True)
class Failure:
    """Why a run failed, and whether that was a mistake of whoever asked for it."""

    error: str
    refused: bool


def failure_of(folder: Path) -> Failure | None:
    """What is kept in a folder; None where nothing is.

    Raises:
        DamagedError: it cannot be read.
    """
    found = read_json(folder / NAME)
    return None if found is None else Failure(str(found.get("error", "")), bool(found.get("refused")))


@contextlib.contextmanager
def noted(folder: Path) -> Generator[None]:
    """What ends the work in a run's folder stands in `failed.json`; an earlier failure is forgotten when the run goes on.

    A run that was asked to stop has not failed.
    """
    (folder / NAME).unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        note(folder, error)
        raise


def note(folder: Path, error: Exception) -> None:
    """Keep an error in a folder; where nothing can be written there, it is not kept."""
    said = str(error) if isinstance(error, (TrainingError, ConfigError)) else f"{type(error).__name__}: {error}"
    when = datetime.now().astimezone().isoformat(timespec="seconds")
    about = {"error": said, "when": when, "refused": isinstance(error, ConfigError)}
    # A full disk, or another process that took the folder over, may be what it failed of.
    with contextlib.suppress(OSError, TrainingError):
        claim.check_held(folder)
        write(folder / NAME, json.dumps(about, indent=1) + "\n")
