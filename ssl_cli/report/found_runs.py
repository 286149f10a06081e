"""Finished runs for a report, read from folders that may be damaged or a stranger's: no code is run, odd numbers are refused."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.runs.below import SeenRun, Show, jobs_and_parts, runs_below
from ssl_cli.runs.files import printable, short
from ssl_cli.runs.reading import number
from ssl_cli.runs.result import FORMAT, numbers_first
from ssl_cli.runs.state import is_held
from ssl_cli.runs.sweep_jobs import answering
from ssl_cli.runs.typed import words_by_run

LONGEST = 2000  # letters of a name or a sentence
NAMED = 3  # unfinished runs that are named


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    result: its numbers, those that reports read being what they should be.
    job: the run that lies in no other one, inside which this one is, or which it is itself.
    words: what the job was asked for by; None where that is not known.
    """

    seen: SeenRun
    job: SeenRun
    words: tuple[str, ...] | None

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.seen.folder

    @property
    def result(self) -> dict[str, Any]:
        """Its numbers, and what it was."""
        return self.seen.result or {}

    @property
    def is_job(self) -> bool:
        """Whether it lies in no other run."""
        return self.folder == self.job.folder


@dataclass(frozen=True)
class FoundRuns:
    """The finished runs of some folders, and a sentence for what was left out of them.

    is_worked_on: whether another process works on a run that was left out.
    """

    runs: tuple[FinishedRun, ...]
    left_out: tuple[str, ...]
    is_worked_on: bool = False


def read_runs(folders: Iterable[Path], show: Show = iter, without: Path | None = None) -> FoundRuns:
    """All finished runs in some folders, each once, in the order of their paths.

    Args:
        folders: of runs or sweeps, or any with runs below; a sweep has the runs that answer its jobs elsewhere too.
        show: as of `runs_below`.
        without: the folder of a run that is not looked at.
    """
    there: dict[Path, SeenRun] = {}
    for root in folders:
        for place in (root, *answering(root)):
            for run in runs_below(place, show):
                if run.folder != without:
                    there.setdefault(run.folder.resolve(), run)
    runs = sorted(there.values(), key=lambda run: numbers_first(run.folder))
    groups = jobs_and_parts(runs)
    words = words_by_run(job for job, _ in groups)
    found: list[FinishedRun] = []
    left_out: list[str] = []
    unfinished: list[str] = []
    at_work: list[str] = []
    for job, parts in groups:
        for run in (job, *parts):
            name = printable(short(run.folder))
            damage = run.damage or (None if run.result is None else problem_of(run.result))
            if damage:
                left_out.append(f"{name} is left out: {printable(damage)}.")
            elif run.result is not None:
                found.append(FinishedRun(run, job, words[job.folder]))
            elif run is job:
                (at_work if is_held(run) else unfinished).append(name)
    for names, why in ((unfinished, "not finished"), (at_work, "being worked on by another process")):
        if names:
            named = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
            count = "1 run is" if len(names) == 1 else f"{len(names)} runs are"
            left_out.append(f"{count} {why} and left out: {named}.")
    return FoundRuns(tuple(found), tuple(left_out), bool(at_work))


def problem_of(result: Mapping[str, Any]) -> str | None:
    """Why the numbers of a run cannot be reported, in a few words; None where they can."""
    if result.get("format") != FORMAT:
        return "its result.json is of another version of this program"
    for key, (is_right, what) in _KEYS.items():
        if not is_right(result.get(key)):
            return f"{key} in its result.json is not {what}"
    return None


def _optional(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_right(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _is_share(value: Any) -> bool:
    found = number(value)
    return found is not None and 0 <= found <= 1


def _is_pretraining(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("collapsed"), (bool, type(None)))


def _is_folds(value: Any) -> bool:
    return isinstance(value, dict) and _is_share(value.get("accuracy")) and _optional(_is_share)(value.get("macro_f1"))


def _are_rows(value: Any, **keys: Callable[[Any], bool]) -> bool:
    return isinstance(value, Sequence) and all(
        isinstance(row, dict) and all(is_right(row.get(key)) for key, is_right in keys.items()) for row in value
    )


def _are_classes(value: Any) -> bool:
    keys = {"inputs": _is_count, "labels": _optional(_is_count), "accuracy": _optional(_is_share)}
    return _are_rows(value, **{"class": _is_text}, **keys)


def _are_languages(value: Any) -> bool:
    keys = {"inputs": _is_count, "labels": _optional(_is_count), "accuracy": _is_share, "macro_f1": _is_share}
    return isinstance(value, dict) and _are_rows(list(value.values()), **keys)


_KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "stage": (_is_text, "a name"),
    "arm": (_is_text, "a name"),
    "dataset": (_is_text, "a name"),
    "ends_in": (_is_text, "a name"),
    "seed": (_is_count, "a whole number"),
    "labels": (_optional(_is_count), "a number of labels"),
    "method": (_optional(_is_text), "a name"),
    "classes": (_optional(_is_count), "a number of classes"),
    "seconds": (lambda value: number(value) is not None, "a number"),
    "test_accuracy": (_optional(_is_share), "a share"),
    "knn_accuracy": (_optional(_is_share), "a share"),
    "macro_f1": (_optional(_is_share), "a share"),
    "backbone_parameters": (_optional(_is_count), "a number of parameters"),
    "images_per_second": (_optional(lambda value: number(value) is not None), "a number"),
    "collapsed": (_optional(lambda value: isinstance(value, bool)), "true or false"),
    "pretraining": (_optional(_is_pretraining), "what a pre-training was"),
    "folds": (_optional(_is_folds), "a cross-validation"),
    "per_class": (_optional(_are_classes), "a table of classes"),
    "languages": (_optional(_are_languages), "a table of languages"),
    "caveats": (_optional(lambda value: isinstance(value, list) and all(map(_is_text, value))), "a list of sentences"),
}
