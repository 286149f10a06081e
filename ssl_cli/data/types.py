"""Types shared by data, methods and stages."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

_Maker = TypeVar("_Maker", bound=Callable[..., "Dataset"])

UNKNOWN = -1  # the label of an unlabelled input


@dataclass(frozen=True)
class Split:
    """Inputs with their labels.

    inputs: uint8 (N, C, H, W), in memory or memory-mapped; labels: int64 (N,), −1 where unknown.
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Dataset:
    """Training and test data. Pre-training uses all training inputs; of the labels, only those in the budget are used."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    cases: Tensor | None = (
        None  # int64 (N,): which training inputs belong together, such as those of one patient; None: unknown
    )
    name: str = ""  # as `dataset=NAME`; `load` fills it in

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, channels, height, width = self.train.inputs.shape
        return channels, height, width

    def fingerprint(self) -> str:
        """A hash of the training inputs' number, shape and content (of 4,096 of them, evenly spaced, if there are more).

        Cases are included if there are any.
        """
        return fingerprint(self.train.inputs, *([] if self.cases is None else [self.cases]))


def fingerprint(inputs: Tensor, *notes: Tensor) -> str:
    """A hash of the number, shape and content of inputs (of 4,096 of them, evenly spaced, if there are more), and of notes.

    Args:
        inputs: uint8 (N, C, H, W).
        notes: int64 (N,), such as their labels.
    """
    picked = inputs[torch.linspace(0, len(inputs) - 1, min(len(inputs), 4096)).long()]
    digest = hashlib.sha256(str(tuple(inputs.shape)).encode())
    for part in (picked, *notes):
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Batch:
    """inputs: uint8 (B, C, H, W), or float features (B, D); labels: int64 (B,), `UNKNOWN` where there is none, or None in
    pre-training.

    partners: for each input another one of the same case, or None for methods without cases.
    """

    inputs: Tensor
    labels: Tensor | None
    partners: Tensor | None = None


def refused_by(problems: Callable[..., Iterator[str]]) -> Callable[[_Maker], _Maker]:
    """For a function that makes a data set: what its arguments contradict is said before anything is made.

    Args:
        problems: gets the same arguments, and gives a sentence for each that is wrong.
    """

    def mark(make: _Maker) -> _Maker:
        vars(make)["problems"] = problems
        return make

    return mark


def problems_of(make: Callable[..., Any], arguments: dict[str, Any]) -> list[str]:
    """What a function that makes a data set says of its arguments before it is called."""
    problems = getattr(make, "problems", None)
    return [] if problems is None else list(problems(**arguments))
