"""What data sets are, and which labels may be seen."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ssl_cli.config.schema.basics import Count, Fraction, NonNegativeInt, Shape


@dataclass(frozen=True)
class Facts:
    """What is known of a data set before it is read, so that mistakes show before anything is read.

    Reading checks them. `null` where they cannot be known. A data set has `ImageFacts` or `TextFacts`.
    """

    inputs: Count | None  # training inputs that have labels
    unlabelled: NonNegativeInt | None
    test: Count | None
    classes: Annotated[int, "[2, inf)"] | None
    cases: (
        NonNegativeInt | None
    )  # that the training inputs show, such as patients; 0 where nothing says which belong together


@dataclass(frozen=True)
class ImageFacts(Facts):
    """Of images."""

    shape: Shape | None


@dataclass(frozen=True)
class TextFacts(Facts):
    """Of texts."""

    vocabulary: Count | None  # number of tokens
    languages: NonNegativeInt | None  # 0 where nothing says which text is in which


@dataclass(frozen=True)
class Budget:
    """Which labels may be seen.

    file: of `listed`, a table of inputs; see `config.item_list`.
    """

    kind: Literal["balanced", "random", "first", "fraction", "all", "listed"]
    labels: Count | None
    fraction: Annotated[float, "(0, 1]"] | None
    validation: Annotated[float, "[0, 1)"]
    pretrain_on: Literal["all", "rest"]
    file: Path | None = None


@dataclass(frozen=True)
class Columns:
    """Names of the columns; null where there is none.

    second: of the other text of a pair; language: of the text; document: rows with the same value, one after the other, are the
    sentences of one text; split: `train` or `test`.
    """

    text: str
    label: str | None
    second: str | None
    language: str | None
    document: str | None
    split: str | None


@dataclass(frozen=True)
class Bpe:
    """The tokenizer that is trained on the training texts, or, with a `path`, one that is there already.

    path: a `tokenizer.json`, or a folder that has one; what follows is for one that is trained here.
    vocabulary: number of tokens, at least the bytes and the special ones.
    sample: number of training texts that it is trained on, evenly spaced.
    lowercase: whether letters lose their case.
    language_power: the sample has languages in proportion to their share to this power; 1: as they are, 0: all the same.
    """

    path: Path | None
    vocabulary: Annotated[int, "[300, inf)"]
    sample: Count
    lowercase: bool
    language_power: Fraction = 1.0
