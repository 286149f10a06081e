"""One job of a sweep, in whatever process: referred to a run that answers it, or carried out; what it failed of is kept."""

import contextlib
import logging
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from ssl_cli.cli.carry_out import carry_out, say_how_to_go_on, settle
from ssl_cli.config import compose, trust
from ssl_cli.config.automatic import is_open
from ssl_cli.config.schema import Config
from ssl_cli.config.typecheck import Allowed
from ssl_cli.errors import ConfigError, Interrupted, TrainingError
from ssl_cli.runs import claim, failure
from ssl_cli.runs.files import quoted
from ssl_cli.runs.known import known_runs
from ssl_cli.runs.reading import is_file
from ssl_cli.runs.referred import forget, refer, referral
from ssl_cli.runs.result import read_result
from ssl_cli.runs.saved import saved_settings

log = logging.getLogger("ssl_cli")


def carry_out_job(
    settings: Any, words: Sequence[str], command: Sequence[str], folder: Path, sweep: Path, allowed: Allowed
) -> Path:
    """Carry out a job, if no finished run answers it; the folder of its run. What it fails of is kept there, and others go on.

    Args:
        settings: as Hydra composed them.
        words: of the job's command line.
        command: the words of the sweep's, which a process that a launcher starts does not have as its own.
        folder, sweep: of the job, and of the sweep that it belongs to.
        allowed: which components the settings may name.
    """
    if not is_file(folder / "config.yaml"):  # else a refusal that is kept there would make it somebody else's folder
        (folder / failure.NAME).unlink(missing_ok=True)
    try:
        _carry_out(settings, words, command, folder, sweep, allowed)
    except claim.HeldError:  # such as the same sweep, gone on with in another terminal, which ends this job too
        log.info("Another process is at the run of this job: %s", quoted(folder))
    except (ConfigError, TrainingError) as error:
        _keep(folder, error)
    except Exception as error:
        # An error of the program, or of somebody's own code, is no reason to lose the other jobs.
        log.exception("An error that this program does not know of:")
        _keep(folder, error)
    reference = referral(folder)
    return folder if reference is None else reference.run


def _carry_out(
    settings: Any, words: Sequence[str], command: Sequence[str], folder: Path, sweep: Path, allowed: Allowed
) -> None:
    reference = referral(folder)
    if reference is not None and read_result(reference.run):
        return
    config = compose.check(compose.resolved(settings), allowed)
    trust.trust_components_of(config)
    near = (config.outputs, sweep.parent)  # where runs are looked for; nobody is sent elsewhere to write
    if reference is not None and any(map(reference.run.is_relative_to, near)):
        if claim.holder_of(reference.run) is not None:  # such as the same sweep, gone on with in another terminal
            log.info("Another process is at the run of this job: %s", quoted(reference.run))
            return
        if _goes_on(reference.run, sweep):
            return
    forget(folder)
    asked: list[str] = []
    may_be_answered = config.stage.trains and not is_file(folder / "config.yaml")
    if may_be_answered and is_open(config):
        answered, asked = _look(config, words, folder, sweep)
        if answered:
            return
    with _reading_data(sweep):
        config = settle(config, settings, words, folder, allowed)
    if may_be_answered and config.reuse and _look(config, (), folder, sweep)[0]:
        return
    carry_out(config, folder, sweep, command, asked)


@contextlib.contextmanager
def _reading_data(sweep: Path) -> Generator[None]:
    """Whoever stops a job that waits for its data, or reads them, is told how the sweep goes on."""
    try:
        yield
    except Interrupted:
        say_how_to_go_on(sweep)
        raise


def _look(config: Config, words: Sequence[str], folder: Path, sweep: Path) -> tuple[bool, list[str]]:
    """Whether a run answers a job, now that its data are read, and what it is asked for.

    One that was finished answers it as it is. One that was interrupted is gone on with.
    """
    from ssl_cli.stages.remember import recognised_by_reading

    with _reading_data(sweep):
        asked, stamps = recognised_by_reading(config, words)
    if not config.reuse:
        return False, [asked]
    known = known_runs(config.outputs, sweep.parent)
    finished, interrupted = known.finished.get(asked), known.interrupted(asked)
    other = finished or interrupted
    if other is None:
        return False, [asked]
    refer(folder, other, stamps)
    if finished is None and not _goes_on(other, sweep):
        forget(folder)
        return False, [asked]
    return True, [asked]


def _goes_on(run: Path, sweep: Path) -> bool:
    """Carry out the rest of an unfinished run, if no other process works on it."""
    if claim.holder_of(run) is not None:
        return False
    log.info("Goes on with the unfinished run in %s", quoted(run))
    try:
        carry_out(saved_settings(f"resume={run}", run), run, sweep)
    except claim.HeldError:  # another process was faster, such as a job of another sweep
        log.info("Another process goes on with it.")
        return False
    return True


def _keep(folder: Path, error: Exception) -> None:
    """Keep the error in the folder of a job that has no run of which it could be said."""
    reference = referral(folder)
    if reference is not None and not is_file(reference.run / failure.NAME):
        forget(folder)  # it could not be gone on with at all, which is nothing that is said of it in its folder
        reference = None
    if not is_file(folder / "config.yaml") and reference is None:
        folder.mkdir(parents=True, exist_ok=True)
        failure.note(folder, error)
