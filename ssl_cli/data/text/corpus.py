"""A corpus: texts that can be read more than once, and what a first look at them finds."""

import hashlib
import logging
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ssl_cli.data.text.rows import is_decoded
from ssl_cli.data.types import UNKNOWN, in_order
from ssl_cli.errors import ConfigError

log = logging.getLogger("ssl_cli")

TRAIN, TEST = 0, 1
LANGUAGES = 256  # that a byte can tell apart


class Text(NamedTuple):
    """One input: its sentences, the other text of a pair, and what is known of it (None: nothing).

    is_test: which part it is in; None: the program chooses. case: inputs with the same number belong together.
    left_out: why what reads it leaves it out, so that it is counted.
    """

    sentences: tuple[str, ...]
    second: str | None = None
    label: str | None = None
    language: str | None = None
    is_test: bool | None = None
    case: int | None = None
    place: str = ""
    left_out: str | None = None

    def whole(self) -> str:
        """All that makes it another text than others."""
        return "\x1f".join((*self.sentences, self.second or "", self.language or ""))

    def digest(self) -> bytes:
        """A hash of eight bytes, by which equal texts are found."""
        return hashlib.blake2b(self.whole().encode(errors="replace"), digest_size=8).digest()


@dataclass(frozen=True)
class Corpus:
    """Texts that can be read more than once, in the same order.

    source: all that they depend on, as plain values. texts: reads them. has_sentences: whether sentences are marked.
    test_fraction: of labelled texts that are held out where no text says which part it is in.
    """

    source: dict[str, Any]
    texts: Callable[[], Iterator[Text]]
    has_sentences: bool
    test_fraction: float


@dataclass
class Survey:
    """What a first look at all texts found, a number each: part, class, language, case, and which are kept.

    skipped: why the others are not, by number.
    """

    part: np.ndarray
    label: np.ndarray
    language: np.ndarray
    case: np.ndarray
    kept: np.ndarray
    skipped: dict[int, str]
    classes: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()


def survey(corpus: Corpus) -> Survey:
    """What each text is, which are left out and why, and which are held out as test.

    Raises:
        ConfigError: the texts make no data set.
    """
    hashes, part, case = array("Q"), array("b"), array("q")
    label, language = array("q"), array("q")
    classes: dict[str, int] = {}
    languages: dict[str, int] = {}
    skipped: dict[int, str] = {}
    for number, text in enumerate(corpus.texts()):
        if text.left_out:
            skipped[number] = text.left_out
        elif not "".join(text.sentences).strip():
            skipped[number] = "empty"
        elif not is_decoded(text.whole() + (text.label or "")):
            skipped[number] = "encoding"
        hashes.append(int.from_bytes(text.digest(), "little"))
        part.append(UNKNOWN if text.is_test is None else TEST if text.is_test else TRAIN)
        label.append(UNKNOWN if text.label is None else classes.setdefault(text.label, len(classes)))
        language.append(languages.setdefault(text.language or "", len(languages)))
        case.append(UNKNOWN if text.case is None else text.case)
    known = Survey(
        np.frombuffer(part, dtype=np.int8).copy(),
        np.frombuffer(label, dtype=np.int64).copy(),
        np.frombuffer(language, dtype=np.int64).copy(),
        np.frombuffer(case, dtype=np.int64).copy(),
        np.ones(len(part), dtype=bool),
        skipped,
    )
    known.kept[list(skipped)] = False
    for number, why in _duplicates(np.frombuffer(hashes, dtype=np.uint64), known).items():
        known.kept[number], skipped[number] = False, why
    known.classes, known.label = _in_order(classes, known.label, known.kept)
    if set(languages) != {""}:
        known.languages, known.language = _in_order(languages, known.language, known.kept)
    _hold_out(known, corpus.test_fraction)
    if skipped:
        counts = ", ".join(f"{count:,} {why}" for why, count in sorted(Counter(skipped.values()).items()))
        log.info("Note: %s texts are left out (%s); skipped.csv lists them.", f"{len(skipped):,}", counts)
    _check(known)
    return known


def _duplicates(hashes: np.ndarray, known: Survey) -> dict[int, str]:
    """Training texts that stand there twice, of which the first with a label stays, or that are test texts too."""
    order = np.lexsort((np.arange(len(hashes)), known.label < 0, known.part != TEST, hashes))
    order = order[known.kept[order]]
    found: dict[int, str] = {}
    for first, second in pairwise(order):
        if hashes[first] == hashes[second] and known.part[second] != TEST:
            found[int(second)] = "duplicate"
    # Of three equal ones, the second and the third both follow an equal one, so each is found.
    return found


def _in_order(found: dict[str, int], numbers: np.ndarray, kept: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Names that texts which are kept have, in order (numbers by value, others as words), and the positions in it."""
    there = set(numbers[kept].tolist())
    names = in_order(name for name, number in found.items() if number in there)
    if not names:
        return (), numbers
    moved = np.full(max(numbers.max(), 0) + 1, UNKNOWN)
    moved[[found[name] for name in names]] = np.arange(len(names))
    return names, np.where(numbers >= 0, moved[numbers], numbers)


def _hold_out(known: Survey, fraction: float) -> None:
    """Where no text says that it is a test text, a part of each class of the labelled ones becomes that, always the same."""
    if (known.part == TEST).any():
        known.part[known.part < 0] = TRAIN
        return
    source = np.random.default_rng(0)
    known.part[:] = TRAIN
    for number in range(len(known.classes)):
        own = np.flatnonzero(known.kept & (known.label == number))
        known.part[source.permutation(own)[: round(fraction * len(own))]] = TEST


def _check(known: Survey) -> None:
    if len(known.classes) == 1:
        raise ConfigError(
            f"dataset.columns.label: every label is {known.classes[0]!r}; there must be at least two classes, or no label column"
        )
    if len(known.languages) > LANGUAGES:
        raise ConfigError(
            f"dataset.columns.language: there are {len(known.languages)} languages, and there can be {LANGUAGES}"
        )
    train = known.kept & (known.part == TRAIN)
    if not train.any():
        raise ConfigError("dataset.root: there is no training text")
    only = set(known.label[known.kept & (known.part == TEST)].tolist()) - set(known.label[train].tolist()) - {UNKNOWN}
    if only:
        names = ", ".join(known.classes[number] for number in sorted(only))
        raise ConfigError(f"dataset.columns.label: the test texts have labels that no training text has: {names}")
