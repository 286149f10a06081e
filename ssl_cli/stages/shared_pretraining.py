"""A pre-training that several runs need at the same time is trained by one of them; the others wait for it."""

import contextlib
import logging
import time
from collections.abc import Callable, Generator
from pathlib import Path

from ssl_cli.config.schema import Config
from ssl_cli.data.progress import Done, show_waiting
from ssl_cli.errors import ConfigError
from ssl_cli.runs import claim
from ssl_cli.runs.below import seen
from ssl_cli.runs.files import short
from ssl_cli.runs.result import read_result
from ssl_cli.runs.run import Run
from ssl_cli.runs.saved import saved_settings
from ssl_cli.runs.state import own_status
from ssl_cli.runs.turns import Holder, Turn, turn

log = logging.getLogger("ssl_cli")

WANTED = "a pre-training with these settings"


@contextlib.contextmanager
def one_pretraining_at_a_time(root: Path, wanted: str, run: Run) -> Generator[Turn]:
    """Hold the right to train the pre-training of an identity; wait, with a bar, while another process trains it.

    Args:
        root: the folder of all runs.
        wanted: the identity.
        run: the one that waits; its seconds are those in which it worked.
    """
    with contextlib.ExitStack() as held:
        begun = time.perf_counter()
        with show_waiting(WANTED, "steps", _steps_done) as waiting:
            mine = held.enter_context(turn(root, wanted, waiting))
        run.leave_out(time.perf_counter() - begun)
        yield mine


def to_go_on_with(mine: Turn, is_wanted: Callable[[Config], bool], parent: Run) -> tuple[Config, Run] | None:
    """The pre-training that another process has begun and not ended, with its settings; None where there is none to go on with.

    Args:
        mine: the turn of this process.
        is_wanted: whether settings are those of the pre-training that is wanted.
        parent: the run that needs it.
    """
    folder = mine.begun_in()
    if folder is None or not (folder / "config.yaml").exists() or read_result(folder):
        return None
    try:
        settings = saved_settings(str(folder), folder)
        if not is_wanted(settings):
            return None
        run = Run(folder, settings, parent)
        with claim.claimed(folder):  # whether this process may write there
            pass
    except (ConfigError, OSError) as error:
        log.warning("A pre-training that another run has begun is not gone on with: %s.", error)
        return None
    log.info("Going on with a pre-training that another run has begun: %s", short(folder))
    return settings, run


def _steps_done(holder: Holder) -> Done:
    """Of a pre-training: its steps so far, and how many it has."""
    status = None if holder.folder is None else own_status(seen(holder.folder), held=True)
    return (None, None) if status is None else (status.step, status.steps)
