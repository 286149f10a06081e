"""While a sweep runs: one line for each job that is done, with what is left of the sweep."""

import logging
from pathlib import Path

from ssl_cli.cli.runs.screen import duration, percent
from ssl_cli.cli.runs.status import summary
from ssl_cli.runs.below import SeenRun, is_run, seen
from ssl_cli.runs.reading import DamagedError
from ssl_cli.runs.state import Status, is_held, own_status
from ssl_cli.runs.sweep_jobs import Job, jobs_of

log = logging.getLogger("ssl_cli")


def say_how_a_job_went(sweep: Path, folder: Path) -> None:
    """One line, told from the sweep's folder alone: other jobs may run in other processes.

    Args:
        sweep: the folder of the sweep.
        folder: of the job that is done.
    """
    if not is_run(folder):  # refused, and removed again
        return
    jobs = _jobs(sweep)
    begun = [_status(seen(job.folder)) for job in jobs if is_run(job.folder)]
    said = f"{job_name(sweep, folder)}: {_described(_status(seen(folder)))}"
    log.info("%s", f"{said}. {summary(begun, len(jobs) - len(begun), goes_on=True)}." if begun else f"{said}.")


def job_name(sweep: Path, folder: Path) -> str:
    """A job by its number and what the sweep varies, such as `Job 1 (budget.labels=40)`; arguments as of `say_how_a_job_went`."""
    words = next((job.words for job in _jobs(sweep) if job.folder == folder), ())
    return f"Job {folder.name} ({' '.join(words)})" if words else f"Job {folder.name}"


def _jobs(sweep: Path) -> list[Job]:
    try:
        return jobs_of(sweep)
    except DamagedError:
        return []


def _status(run: SeenRun) -> Status:
    return own_status(run, is_held(run))


def _described(status: Status) -> str:
    accuracy = f"{percent(status.accuracy)} {status.measure}" if status.accuracy is not None else ""
    return ", ".join(filter(None, (status.state, accuracy, duration(status.seconds), status.note)))
