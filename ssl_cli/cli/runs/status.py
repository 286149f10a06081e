"""`ssl-cli status FOLDER`: one line a job, also of those that work in other terminals."""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssl_cli.cli.runs.commands import DEFAULT_FOLDER, Options
from ssl_cli.cli.runs.screen import duration, inside, percent, reading_bar, say, show_table
from ssl_cli.runs.below import SeenRun, asked_folder, jobs_and_parts, no_runs, runs_below
from ssl_cli.runs.files import short
from ssl_cli.runs.reading import DamagedError
from ssl_cli.runs.result import numbers_first
from ssl_cli.runs.state import Status, is_held, own_status, status_of
from ssl_cli.runs.sweep_jobs import Job, OtherJob, is_sweep, jobs_of, other_jobs_below

HEADS = ("run", "state", "step", "seconds", "accuracy", "time left", "")
NUMBERS = ("step", "seconds", "time left")


def main(options: Options, words: Sequence[str]) -> None:
    """Print one line a job, and a closing line."""
    options.add_argument("folder", nargs="?", default=DEFAULT_FOLDER, help="of a run, a sweep, or with runs below it")
    asked: str = options.read(words).folder
    folder = asked_folder(asked)
    found = jobs_and_parts(runs_below(folder, reading_bar))
    statuses = [(run.folder, status_of(run, parts)) for run, parts in found]
    others = list(other_jobs_below(folder))
    waiting, damaged = _not_begun(folder, {*(run.folder for run, _ in found), *(job.folder for job in others)})
    statuses += [(job.folder, _status_elsewhere(job)) for job in others if not job.is_shown_with(folder)]
    statuses.sort(key=lambda one: numbers_first(one[0]))
    if not (statuses or waiting or damaged):
        raise no_runs(asked)
    lines = [_line(inside(path, folder), status) for path, status in statuses]
    if len(found) == len(statuses) == 1 and not waiting:
        lines += _parts(folder, *found[0])
    lines += [(inside(job.folder, folder), "waiting", "", "", "", "", " ".join(job.words)) for job in waiting]
    lines += damaged
    show_table(HEADS, lines, NUMBERS, beneath=("",))
    seen = [status for _, status in statuses]
    say(summary(seen, len(waiting), any(status.state == "running" for status in seen)) + ".")


def summary(statuses: Sequence[Status], waiting: int, goes_on: bool) -> str:
    """How many jobs are in which state, and where work goes on, how long those take that are not finished."""
    states = [status.state for status in statuses] + ["waiting"] * waiting
    said = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    counted = f"{len(states)} run{'s' if len(states) > 1 else ''}: {', '.join(said)}"
    left = time_left(statuses, waiting) if goes_on else None
    return counted if left is None else f"{counted}; about {duration(left)} left"


def time_left(statuses: Sequence[Status], waiting: int) -> float | None:
    """Seconds until the last job is finished, if all take as long as those that are; None where that cannot be said."""
    took = [status.seconds for status in statuses if status.state == "finished" and status.seconds is not None]
    running = [status for status in statuses if status.state == "running"]
    if not (running or waiting):
        return None
    if not took:
        single = running[0].left if len(running) == 1 and not waiting and not running[0].part else None
        return single
    each = statistics.mean(took)
    left = sum(max(0.0, each - (status.seconds or 0.0)) for status in running) + waiting * each
    return left / max(1, len(running))


def _status_elsewhere(job: OtherJob) -> Status:
    """How the run is going that answers a job, and where it is; or why the job was refused."""
    if job.run is None:
        return Status("failed", note=job.error)
    status = own_status(job.run, is_held(job.run))
    return replace(status, note=", ".join(filter(None, (status.note, f"in {short(job.run.folder)}"))))


def _line(name: str, status: Status) -> tuple[str, ...]:
    step = "" if status.step is None else f"{status.step:,}" + ("" if status.steps is None else f" of {status.steps:,}")
    accuracy = f"{percent(status.accuracy)} {status.measure}" if status.accuracy is not None else ""
    left = duration(status.left) if status.state == "running" else ""
    note = ": ".join(filter(None, (status.part, status.note)))
    return (name, status.state, step, duration(status.seconds), accuracy, left, note)


def _parts(folder: Path, run: SeenRun, parts: list[SeenRun]) -> list[tuple[str, ...]]:
    """Lines of the runs inside the only one, but for folders that only hold others."""
    found = [(part, own_status(part, is_held(part))) for part in parts]
    return [
        _line(inside(part.folder, folder), status)
        for part, status in found
        if status.state != "interrupted" or status.step is not None
    ]


def _not_begun(folder: Path, begun: set[Path]) -> tuple[list[Job], list[tuple[str, ...]]]:
    """Jobs of the sweeps in a folder, and one or two levels below, that have no run yet; lines of records that are damaged."""
    sweeps = [path for path in (folder, *folder.glob("*/"), *folder.glob("*/*/")) if is_sweep(path)]
    waiting: list[Job] = []
    damaged: list[tuple[str, ...]] = []
    for sweep in sweeps:
        if sweep.is_symlink() or any(parent.is_symlink() for parent in sweep.parents if parent.is_relative_to(folder)):
            continue
        try:
            waiting += [job for job in jobs_of(sweep) if job.folder not in begun]
        except DamagedError as error:
            damaged.append((inside(sweep, folder), "damaged", "", "", "", "", str(error)))
    return waiting, damaged
