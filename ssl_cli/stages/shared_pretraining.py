"""A pre-training that several runs need at the same time is trained by one of them; the others wait for it."""

import contextlib
import logging
import time
from collections.abc import Callable, Generator
from pathlib import Path

from ssl_cli.config.schema import Config
from ssl_cli.data.progress import show_progress
from ssl_cli.errors import ConfigError
from ssl_cli.runs import claim
from ssl_cli.runs.below import seen
from ssl_cli.runs.files import short
from ssl_cli.runs.result import read_result
from ssl_cli.runs.run import Run
from ssl_cli.runs.saved import saved_settings
from ssl_cli.runs.state import own_status
from ssl_cli.runs.turns import Turn, turn

log = logging.getLogger("ssl_cli")

HEARTBEAT = 60.0  # seconds between lines that say that a run still waits


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
        with _shown() as waiting:
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


@contextlib.contextmanager
def _shown() -> Generator[Callable[[Path | None], None]]:
    """What to call again and again while waiting: it says for what, and shows how far that is."""
    with contextlib.ExitStack() as bars:
        bar, said = None, 0.0

        def waiting(folder: Path | None) -> None:
            nonlocal bar, said
            status = None if folder is None else own_status(seen(folder), held=True)
            if time.monotonic() - said > HEARTBEAT or not said:
                log.info("%s", _described(folder, status and status.step, status and status.steps, again=bool(said)))
                said = time.monotonic()
            if status and status.steps and status.step is not None:
                if bar is None:
                    bar = bars.enter_context(show_progress("waiting for pre-training", "steps", status.steps, 0))
                bar.update(status.step - bar.n)

        yield waiting


def _described(folder: Path | None, step: int | None, steps: int | None, again: bool) -> str:
    where = "" if folder is None else f" in {short(folder)}"
    far = "" if step is None or not steps else f", step {step:,} of {steps:,}"
    what = "the pre-training" if again else "a pre-training with these settings, which another run is at"
    return f"{'Still waiting' if again else 'Waiting'} for {what}{where}{far}."
