"""How a run is going, told from its folder alone: also of one that works in another process, or on another machine."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ssl_cli.runs import claim, failure
from ssl_cli.runs.below import SeenRun
from ssl_cli.runs.reading import DamagedError, last_lines, moment, number, read_json

# `waiting`: a job of a sweep that has not begun; `interrupted`: begun, and nobody works on it.
State = Literal["finished", "running", "interrupted", "failed", "waiting", "damaged"]
# What is shown while a run is going, the most telling first: its key in metrics.jsonl, and its name.
ACCURACIES = {
    "test_accuracy": "test", "validation_accuracy": "validation", "knn_accuracy": "kNN", "accuracy": "training labels",
}  # fmt: skip


@dataclass(frozen=True)
class Status:
    """How a run is going.

    step, steps: of the training under way; None where that is not known.
    seconds: of work so far; left: of this training.
    accuracy: a share, and `measure` says of what.
    part: the run inside this one that is being trained.
    note: the error of a failed run, or why a folder is damaged.
    """

    state: State
    step: int | None = None
    steps: int | None = None
    seconds: float | None = None
    left: float | None = None
    accuracy: float | None = None
    measure: str = ""
    part: str = ""
    note: str = ""


def status_of(run: SeenRun, parts: list[SeenRun]) -> Status:
    """How a run is going, with the parts inside it."""
    own = own_status(run, is_held(run))
    if own.state in ("finished", "damaged"):
        return own
    inside = [(part, own_status(part, is_held(part))) for part in parts]
    at_work = [
        (part, status)
        for part, status in inside
        if status.step is not None and status.state == ("running" if own.state == "running" else "interrupted")
    ]
    so_far = sum(status.seconds or 0.0 for _, status in inside)
    seconds = max(own.seconds or 0.0, so_far) or None
    if not at_work or own.step is not None:
        return replace(own, seconds=seconds)
    part, status = at_work[-1]
    return replace(
        status, state=own.state, seconds=seconds, note=own.note or status.note,
        part=part.folder.relative_to(run.folder).as_posix(),
    )  # fmt: skip


def is_held(run: SeenRun) -> bool:
    """Whether a process works in a run's folder."""
    return claim.holder_of(run.folder) is not None


def own_status(run: SeenRun, held: bool) -> Status:
    """How a run is going, without what is inside it.

    Args:
        run: the run.
        held: whether a process works there.
    """
    if run.damage:
        return Status("damaged", note=run.damage)
    if run.result is not None:
        measure = "test" if number(run.result.get("test_accuracy")) is not None else "kNN"
        return Status("finished", seconds=number(run.result.get("seconds")), accuracy=run.accuracy, measure=measure)
    try:
        saved = read_json(run.folder / "progress.json") or {}
        failed = failure.failure_of(run.folder)
    except DamagedError as error:
        return Status("damaged", note=str(error))
    lines = last_lines(run.folder / "metrics.jsonl")
    status = replace(_progress(run.folder, saved, lines, held), **_accuracy(lines))
    if held:
        return replace(status, state="running")
    if failed is not None:
        return replace(status, state="failed", note=failed.error, left=None)
    return replace(status, state="interrupted", left=None)


def _progress(folder: Path, saved: dict[str, Any], lines: list[dict[str, Any]], held: bool) -> Status:
    """Steps and seconds, by what was noted at the training's beginning and with its last checkpoint."""
    steps, first = number(saved.get("steps")), number(saved.get("from_step"))
    reached = [step for line in lines[-1:] if (step := number(line.get("step"))) is not None]
    step = reached[-1] if reached else first
    seconds, now = number(saved.get("seconds")), time.time()
    if held:
        since = max(_modified(folder / "progress.json"), _began(folder))
        seconds = (seconds or 0.0) + max(0.0, now - since)
    noted, left = number(saved.get("from_seconds")), None
    if seconds is not None and noted is not None and steps is not None and first is not None and step is not None:
        here = seconds - noted - (now - _modified(folder / "metrics.jsonl") if held else 0.0)  # until that line
        left = max(0.0, here / (step - first) * (steps - step)) if step > first else None
    return Status(
        "interrupted", None if step is None else int(step), None if steps is None else int(steps), seconds, left
    )


def _accuracy(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The last number of the most telling kind."""
    for key, measure in ACCURACIES.items():
        found = [value for line in lines if (value := number(line.get(key))) is not None]
        if found:
            return {"accuracy": found[-1], "measure": measure}
    return {}


def _began(folder: Path) -> float:
    """When the process that works in a folder began to, in seconds since the epoch; 0 where that is not known."""
    holder = claim.holder_of(folder) or {}
    return moment(str(holder.get("since")))


def _modified(path: Path) -> float:
    """When a file was last written; 0 where there is none."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
