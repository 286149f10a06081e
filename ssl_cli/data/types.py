"""Types shared by data, methods and stages."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from ssl_cli.data.images.files import Reading
from ssl_cli.data.shards import Shards
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Tokens, Vocabulary

Rows = (
    Tensor | Shards
)  # images: uint8 (N, C, H, W), in memory or mapped from one file or several; or features: float (N, D)
Inputs = Rows | Tokens  # or texts
View = Tensor | TokenBatch  # what networks get: float (B, C, H, W), float features (B, D), or packed texts
Plain = Callable[[Inputs, torch.device], View]  # inputs as evaluation sees them, on a device
_Maker = TypeVar("_Maker", bound=Callable[..., "Dataset"])

UNKNOWN = -1  # the label of an unlabelled input


@dataclass(frozen=True)
class Split:
    """Inputs with their labels.

    labels: int64 (N,), −1 where unknown.
    """

    inputs: Inputs
    labels: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


def as_rows(inputs: Inputs) -> Rows:
    """Images or features, where inputs can be nothing else; not read, if they are mapped.

    Raises:
        TypeError: they are texts.
    """
    if isinstance(inputs, Tokens):
        raise TypeError("these inputs are texts, and images or features are wanted")
    return inputs


def as_tensor(inputs: Inputs) -> Tensor:
    """Images or features, where inputs can be nothing else, all of them in memory.

    Raises:
        TypeError: they are texts.
    """
    rows = as_rows(inputs)
    return rows[:] if isinstance(rows, Shards) else rows


def as_texts(inputs: Inputs) -> Tokens:
    """Texts, where inputs can be nothing else.

    Raises:
        TypeError: they are images or features.
    """
    if not isinstance(inputs, Tokens):
        raise TypeError("these inputs are images or features, and texts are wanted")
    return inputs


@dataclass(frozen=True)
class Files:
    """The files that a data set was read from, with paths below `root`, in the order of its inputs.

    skipped: files that were left out, each with the reason; held_out: whether the program chose the test part.
    """

    root: str
    train: Sequence[str]
    test: Sequence[str]
    skipped: Sequence[tuple[str, str]]
    held_out: bool


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
    vocabulary: Vocabulary | None = None  # of texts; None for images
    reading: Reading | None = None  # how an image file becomes an input; None: nothing says so
    files: Files | None = None  # of which the inputs were read; None where they have no names
    # By which they are known again unread; `load` fills it in where they stayed as they were meanwhile.
    stamp: str | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width of images.

        Raises:
            TypeError: the inputs are texts.
        """
        if isinstance(self.train.inputs, Tokens):
            raise TypeError(f"dataset={self.name}: has texts, which have no shape")
        _, channels, height, width = self.train.inputs.shape
        return channels, height, width

    @property
    def form(self) -> dict[str, Any]:
        """What a constructor that is for such inputs names among its arguments, and its value."""
        return {"shape": self.shape} if self.vocabulary is None else {"vocabulary": self.vocabulary}

    def described(self) -> str:
        """The form of the inputs in words."""
        if self.vocabulary is None:
            return f"inputs of {'×'.join(map(str, self.shape))}"
        return f"texts with {self.vocabulary.size:,} tokens"

    @cached_property
    def content(self) -> str:
        """A hash of all that is in both parts."""
        from ssl_cli.data.content import content_of

        return content_of(self)

    def fingerprint(self) -> str:
        """A hash of the training inputs' number, shape and content (of 4,096 of them, evenly spaced, if there are more).

        Cases are included if there are any.
        """
        return fingerprint(self.train.inputs, *([] if self.cases is None else [self.cases]))


def fingerprint(inputs: Inputs, *notes: Tensor) -> str:
    """A hash of the number, shape and content of inputs (of 4,096 of them, evenly spaced, if there are more), and of notes.

    Args:
        inputs: images or texts.
        notes: int64 (N,), such as their labels.
    """
    picked = inputs[torch.linspace(0, len(inputs) - 1, min(len(inputs), 4096)).long()]
    if isinstance(picked, Tokens):
        digest = hashlib.sha256(f"{len(inputs)} texts".encode())
        languages = [] if picked.languages is None else [picked.languages]
        content = [picked.read(), picked.lengths, *languages]
    else:
        digest = hashlib.sha256(str((len(inputs), *picked.shape[1:])).encode())
        content = [picked]
    for part in (*content, *notes):
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of classes or languages in the order of their numbers: those that are numbers by value, then words."""
    return tuple(sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)))


def separate_unknown(cases: Tensor) -> Tensor:
    """Cases of inputs, each of those that are `UNKNOWN` a case of its own: int64 (N,) → (N,)."""
    alone = cases == UNKNOWN
    numbers = cases.max() + alone.cumsum(0)
    return torch.where(alone, numbers, cases)


@dataclass(frozen=True)
class Batch:
    """inputs: images, features or texts; labels: int64 (B,), `UNKNOWN` where there is none, or None in pre-training.

    partners: for each input another one of the same case, or None for methods without cases.
    """

    inputs: Inputs
    labels: Tensor | None
    partners: Inputs | None = None


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
