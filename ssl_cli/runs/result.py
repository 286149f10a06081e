"""What `result.json` holds: one shape for all stages, which each extends by what is its own."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Raised whenever a key changes its name or its meaning, so that an older file is refused by one sentence and not misread.
FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class Result:
    """The numbers of a finished run.

    `Run.finish` adds what is known of every run: the format, its id, its stage, what it ends in, its arm, seed, data set and
    backbone, the hashes of its weights, its seconds and when it was finished.

    identity: the hash of all that shaped the result (see `runs.identity`).
    test_accuracy: share of test inputs that were classified correctly; None where there is no such number. With it a job has a
        row in the table of its sweep.
    labels: how many labels of the target were seen.
    images_per_second: of training; None where nothing was trained, or several things were.
    backbone_parameters: trainable numbers in the backbone.
    environment: machine and versions.
    protocol: in words, how the test set was used.
    caveats: in words, what a reader of the number should know.
    dataset, backbone: names, where they are not those of the settings.
    """

    identity: str
    labels: int
    test_accuracy: float | None = None
    images_per_second: float | None = None
    backbone_parameters: int | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    protocol: str = ""
    caveats: list[str] = field(default_factory=list)
    dataset: str | None = None
    backbone: str | None = None


def read_result(folder: Path) -> dict[str, Any] | None:
    """The numbers of a finished run, else None."""
    path = folder / "result.json"
    return json.loads(path.read_text()) if path.exists() else None


def finished_result(folder: Path) -> dict[str, Any]:
    """The numbers of a run that is known to be finished.

    Raises:
        FileNotFoundError: it is not.
    """
    return json.loads((folder / "result.json").read_text())


def finished_runs(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """All finished runs below a folder, in the order of their paths; the jobs of a sweep in that of their numbers."""
    for path in sorted(root.rglob("result.json"), key=numbers_first):
        with contextlib.suppress(json.JSONDecodeError, OSError):
            yield path.parent, json.loads(path.read_text())


def numbers_first(path: Path) -> list[tuple[bool, int, str]]:
    """The key by which paths are sorted, parts that are numbers by their size."""
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in path.parts]
