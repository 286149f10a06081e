"""What `result.json` holds: one shape for all stages, which each extends by what is its own."""

from dataclasses import dataclass, field
from typing import Any

# Raised whenever a key changes its name or its meaning, so that an older file is refused by one sentence and not misread.
FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class Result:
    """The numbers of a finished run.

    `Run.finish` adds what every run has: the format, the run's id, what it ends in, the hashes of its weights, its seconds and
    when it was finished.

    stage: which verb.
    identity: the hash of all that shaped the result (see `runs.identity`).
    test_accuracy: share of test inputs that were classified correctly; None where there is no such number.
    labels: how many labels of the target were seen.
    images_per_second: of training; None where nothing was trained, or several things were.
    protocol: in words, how the test set was used.
    caveats: in words, what a reader of the number should know.
    environment: machine and versions.
    """

    stage: str
    identity: str
    dataset: str
    backbone: str
    backbone_parameters: int
    seed: int
    labels: int
    test_accuracy: float | None
    images_per_second: float | None
    environment: dict[str, Any]
    protocol: str = ""
    caveats: list[str] = field(default_factory=list)
