"""A stage is carried out in its folder, and what it says at its end."""

import contextlib
import importlib
import logging
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_cli.config.schema import Config
from ssl_cli.config.typecheck import Allowed
from ssl_cli.errors import ConfigError, Interrupted, ProcessLostError, TrainingError

if TYPE_CHECKING:
    from ssl_cli.runs.run import Run

log = logging.getLogger("ssl_cli")


def carry_out(
    settings: Config,
    folder: Path,
    sweep: Path | None = None,
    command: Sequence[str] | None = None,
    asked: Sequence[str] = (),
) -> None:
    """One stage in its folder, and the closing words.

    Args:
        settings, folder: of the run.
        sweep: the folder of the sweep that it is a job of.
        command: the words that asked for it; None for those of this process.
        asked: what was asked for while settings were left to the data; see `runs.asked`.
    """
    from ssl_cli.runs.run import Run

    with _told_when_files_fail(folder, sweep):
        run = Run(folder, settings, command=command)
        run.asked = asked
        _carry_out(run, settings, folder, sweep)


def _carry_out(run: "Run", settings: Config, folder: Path, sweep: Path | None) -> None:
    from ssl_cli.runs import failure
    from ssl_cli.runs.run_log import logged

    if run.result:
        _close_again(settings, run.result, run, sweep)
        return
    with run.claimed():
        if run.result:  # by another process, a moment ago
            _close_again(settings, run.result, run, sweep)
            return
        try:
            with (
                failure.noted(folder),
                _told_when_files_fail(folder, sweep),
                logged(folder),
                _told_when_memory_is_short(settings),
                _without_helpers(),
            ):
                if sweep is None and run.is_new:
                    _mention_unfinished(folder)
                _function(settings.stage.function)(settings, run)
                if run.result is None:
                    raise TrainingError(
                        f"stage={settings.stage.name}: {settings.stage.function} ended without run.finish(…), which writes the "
                        "numbers of a run, so the run is not finished"
                    )
                _close(settings, run.result, run, in_sweep=sweep is not None)
        except ConfigError:
            run.discard()  # what only shows once data is read leaves nothing either
            raise
        except (Interrupted, ProcessLostError):
            say_how_to_go_on(sweep or folder)
            raise


def say_how_to_go_on(folder: Path) -> None:
    """The last words of a run or a sweep that was asked to stop."""
    from ssl_cli.runs.files import quoted

    log.info("Go on with: ssl-cli resume=%s", quoted(folder))


def settle(config: Config, settings: Any, words: Sequence[str], folder: Path, allowed: Allowed) -> Config:
    """The settings with all chosen that the data decide; where they cannot be, the folder that Hydra has made is gone again."""
    from ssl_cli.config.automatic import is_open

    if not is_open(config):
        return config
    from ssl_cli.stages.automatic import settled

    try:
        return settled(config, settings, words, folder, allowed)
    except (ConfigError, Interrupted):
        with contextlib.suppress(OSError):  # it was there, with files
            folder.rmdir()
        raise


@contextlib.contextmanager
def _told_when_files_fail(folder: Path, sweep: Path | None) -> Generator[None]:
    """A disk that is full, read-only or broken is said in a sentence, with how the run goes on afterwards."""
    from ssl_cli.runs.files import quoted, what_failed

    try:
        yield
    except BrokenPipeError:  # whoever read what is printed is gone
        raise
    except OSError as error:
        again = f"; then go on with: ssl-cli resume={quoted(sweep or folder)}" if _has_begun(folder) else ""
        raise TrainingError(what_failed(error, folder) + again) from error


def _has_begun(folder: Path) -> bool:
    try:
        return (folder / "config.yaml").is_file()
    except OSError:
        return False


@contextlib.contextmanager
def _told_when_memory_is_short(settings: Config) -> Generator[None]:
    """What ends in memory that is used up says which settings need less."""
    from ssl_cli.training.memory import is_out_of_memory, what_to_lower

    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(what_to_lower(error, settings.stage.batch_sizes(settings))) from error


@contextlib.contextmanager
def _without_helpers() -> Generator[None]:
    """Processes that were started for a run's trainings end with it."""
    try:
        yield
    finally:
        distributed = sys.modules.get("ssl_cli.training.distributed")  # what trains nothing needs no PyTorch either
        if distributed is not None:
            distributed.end_started()


def _mention_unfinished(folder: Path) -> None:
    """A command that is typed again instead of going on with its run makes a new one; say so."""
    from ssl_cli.runs.files import printable, quoted
    from ssl_cli.runs.unfinished import unfinished_like

    found = unfinished_like(folder)
    if found:
        path = printable(quoted(found))
        log.info("An unfinished run like this one exists: %s; go on with it by ssl-cli resume=%s", path, path)


def _function(path: str) -> Callable[..., dict[str, Any]]:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _close_again(settings: Config, result: dict[str, Any], run: "Run", sweep: Path | None) -> None:
    log.info("This run was finished already; nothing is done again.")
    _close(settings, result, run, in_sweep=sweep is not None)


def _close(settings: Config, result: dict[str, Any], run: "Run", in_sweep: bool) -> None:
    """What a stage says of its result, and commands that go on from here with the settings just used."""
    from ssl_cli.runs.files import quoted

    module = importlib.import_module(settings.stage.function.rpartition(".")[0])
    if hasattr(module, "closing"):
        module.closing(result, run)
    else:
        log.info("Finished in %.0f s. In %s", result["seconds"], quoted(run.folder))
    if hasattr(module, "next_steps") and not in_sweep:
        for command, why in module.next_steps(settings, result, run):
            log.info("Next: %s    # %s", command, why)
