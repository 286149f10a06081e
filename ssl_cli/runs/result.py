"""What `result.json` holds: one shape for all stages, which each extends by what is its own."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import named
from ssl_cli.runs.own import Kinds, check_kinds, damaged, own_object

# Raised whenever a key changes its name or its meaning, so that an older file is refused by one sentence and not misread.
FORMAT = 2
# What other parts of this program read of any run, so that a damaged file is told from a whole one.
MUST_HOLD: Kinds = {"run_id": str, "stage": str, "identity": str, "seconds": (int, float)}
IF_THERE: Kinds = {
    "ends_in": str, "arm": str, "seed": int, "dataset": str, "backbone": str, "labels": int, "test_accuracy": (int, float),
    "images_per_second": (int, float), "backbone_parameters": int, "environment": dict, "protocol": str, "caveats": list,
    "weights": dict, "finished": str, "steps": int, "loss": (int, float), "knn_accuracy": (int, float),
    "macro_f1": (int, float), "balanced_accuracy": (int, float), "validation_accuracy": (int, float), "epochs": (int, float),
    "rows": list, "pretraining": dict, "method": str, "collapsed": bool,
}  # fmt: skip


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
    """The numbers of a finished run, else None; whole ones, unless it is a run of another version.

    Raises:
        ConfigError: the file is damaged.
    """
    path = folder / "result.json"
    found = own_object(path, if_there={"format": int})  # the first versions had none
    if found == {}:
        raise damaged(path, "it holds nothing")
    if found is not None and found.get("format") == FORMAT:
        check_kinds(path, found, MUST_HOLD, IF_THERE)
    return found


def finished_result(folder: Path) -> dict[str, Any]:
    """The numbers of a run that is known to be finished.

    Raises:
        ConfigError: it is not, or the file is damaged.
    """
    found = read_result(folder)
    if found is None:
        raise ConfigError(f"{folder}: is not finished; go on with it by resume={folder}")
    return found


def finished_runs(root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """All finished runs below a folder, in the order of their paths; the jobs of a sweep in that of their numbers."""
    for path in sorted(named(root, "result.json"), key=numbers_first):
        with contextlib.suppress(ConfigError):
            found = read_result(path.parent)
            if found is not None:
                yield path.parent, found


def numbers_first(path: Path) -> list[tuple[bool, int, str]]:
    """The key by which paths are sorted, parts that are numbers by their size."""
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in path.parts]
