"""While a sweep runs: one line for each job that is done, with what is left of the sweep; in the end, which have failed."""

import logging
from dataclasses import dataclass
from pathlib import Path

from ssl_cli.cli.runs.screen import duration, percent
from ssl_cli.cli.runs.status import summary
from ssl_cli.runs.below import SeenRun, is_run
from ssl_cli.runs.failure import Failure, failure_of
from ssl_cli.runs.files import printable, short
from ssl_cli.runs.reading import DamagedError, is_file, read_json
from ssl_cli.runs.state import Status, is_held, own_status
from ssl_cli.runs.sweep_jobs import Job, job_folders, jobs_of

log = logging.getLogger("ssl_cli")


@dataclass(frozen=True)
class Failed:
    """A job that failed: its name, and why."""

    name: str
    why: Failure

    def __str__(self) -> str:
        return "\n".join(printable(line) for line in f"Job {self.name}: {self.why.error}".splitlines())


def say_how_a_job_went(sweep: Path, folder: Path) -> None:
    """One line, told from the sweep's folder alone: other jobs may run in other processes.

    Args:
        sweep: the folder of the sweep.
        folder: of the job that is done.
    """
    names, runs = _names(sweep), job_folders(sweep)
    statuses = {name: _status(run) for name, run in runs.items()}
    is_inside = folder.parent == sweep  # jobs may lie deeper, where somebody says so
    here = statuses.get(folder.name) if is_inside else _status(folder)
    if here is None:
        return
    begun = [status for name, status in statuses.items() if status is not None and name in names]
    where = _elsewhere(sweep, folder.name, runs) if is_inside else ""
    said = f"Job {names.get(folder.name, folder.name)}: {_described(here, where)}"
    waiting = len(names) - len(begun)
    log.info("%s", f"{said}. {summary(begun, waiting, goes_on=True)}." if begun else f"{said}.")


def say_where_jobs_are(sweep: Path) -> None:
    """One line for each job of a sweep: how it went, and where its run is."""
    names, runs = _names(sweep), job_folders(sweep)
    for name, run in runs.items():
        status = _status(run)
        if status is not None:
            log.info("Job %s: %s", names.get(name, name), _described(status, _elsewhere(sweep, name, runs)))


def failures(sweep: Path) -> list[Failed]:
    """The jobs of a sweep that failed, and of what; of several that failed of the same, one stands for all."""
    names = _names(sweep)
    found: dict[Failure, list[str]] = {}
    for name, run in job_folders(sweep).items():
        failure = _failure(run)
        if failure is not None:
            found.setdefault(failure, []).append(names.get(name, name))
    return [Failed(_together(jobs), failure) for failure, jobs in found.items()]


def _together(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _failure(run: Path) -> Failure | None:
    try:
        return None if is_file(run / "result.json") else failure_of(run)
    except DamagedError:
        return None


def _names(sweep: Path) -> dict[str, str]:
    """By the folders of jobs, as far as they are known, what they are called."""
    try:
        return {job.folder.name: _name(job) for job in jobs_of(sweep)}
    except DamagedError:
        return {}


def _name(job: Job) -> str:
    return f"{job.folder.name} ({' '.join(job.words)})" if job.words else job.folder.name


def _elsewhere(sweep: Path, name: str, runs: dict[str, Path]) -> str:
    """Where the run of a job is, if it is not in the sweep's folder."""
    run = runs[name]
    return "" if run == sweep / name else f"in {short(run)}"


def _status(run: Path) -> Status | None:
    """How a job is going; None where it has not begun."""
    try:
        if not is_run(run):
            failure = failure_of(run)
            return None if failure is None else Status("failed", note=failure.error)
        # Settings would take long to read, and tell nothing.
        found = SeenRun(run, {}, {}, read_json(run / "result.json"))
    except DamagedError as error:
        found = SeenRun(run, {}, {}, None, str(error))
    return own_status(found, is_held(found))


def _described(status: Status, where: str) -> str:
    accuracy = f"{percent(status.accuracy)} {status.measure}" if status.accuracy is not None else ""
    return ", ".join(filter(None, (status.state, accuracy, duration(status.seconds), printable(status.note), where)))
