"""Texts are tokenised once, into a folder of the cache whose name is a hash of all that shapes it, and mapped from there."""

import csv
import hashlib
import json
import logging
import os
import shutil
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ssl_cli.config.schema import Bpe
from ssl_cli.data.text.tokenizer import encoded, load_tokenizer, train_tokenizer, vocabulary_of
from ssl_cli.data.tokens import Tokens
from ssl_cli.data.types import UNKNOWN, Dataset, Split
from ssl_cli.errors import ConfigError

log = logging.getLogger("ssl_cli")

FORMAT = 1  # raised when the same texts give other files
ENCODED_AT_ONCE = 1024
SHOWN_FROM = 20_000  # texts, whose tokenising takes seconds
NUMBERS = ("part", "label", "language", "case", "length")
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


@dataclass(frozen=True)
class Corpus:
    """Texts that can be read more than once, in the same order.

    source: all that they depend on, as plain values. texts: reads them. has_sentences: whether sentences are marked.
    test_fraction: of labelled texts that are held out where no text says which part it is in.
    classes, languages: in order; None for those that occur, sorted.
    """

    source: dict[str, Any]
    texts: Callable[[], Iterator[Text]]
    has_sentences: bool
    test_fraction: float
    classes: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None


@dataclass
class _Known:
    """What a first look at all texts found, a number each: part, class, language, case, and which are kept."""

    part: np.ndarray
    label: np.ndarray
    language: np.ndarray
    case: np.ndarray
    kept: np.ndarray
    classes: tuple[str, ...]
    languages: tuple[str, ...]


def stored(corpus: Corpus, bpe: Bpe, cache: Path) -> Dataset:
    """The data set of a corpus, from the cache or made now.

    Raises:
        ConfigError: the texts make no data set, or the cache cannot be written.
    """
    shapes = {"format": FORMAT, "source": corpus.source, "tokenizer": asdict(bpe), "sentences": corpus.has_sentences}
    key = hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:24]
    folder = cache.expanduser() / "texts" / key
    if not (folder / "about.json").exists():
        _make(corpus, bpe, folder)
    return _read(folder, corpus.has_sentences)


def _make(corpus: Corpus, bpe: Bpe, folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    except OSError as error:
        raise ConfigError(f"dataset.cache={folder.parent.parent}: cannot be written ({error.strerror})") from error
    try:
        known = _first_look(corpus, work)
        total = int(known.kept.sum())
        train = known.kept & (known.part == TRAIN)
        picked = np.flatnonzero(train)
        picked = picked[np.linspace(0, len(picked) - 1, min(len(picked), bpe.sample)).astype(int)]
        wanted = np.zeros_like(train)
        wanted[picked] = True
        tokenizer = train_tokenizer(
            (part for text in _only(corpus.texts(), wanted) for part in (*text.sentences, text.second or "")), bpe
        )
        tokenizer.save(str(work / "tokenizer.json"))
        vocabulary = vocabulary_of(tokenizer, known.languages, corpus.has_sentences)
        lengths = array("q")
        with (work / "tokens.bin").open("wb") as file:
            texts = _only(corpus.texts(), known.kept)
            texts = tqdm(texts, "Tokenising", total, unit=" texts", leave=False, disable=total < SHOWN_FROM)
            for part in _batched(texts, ENCODED_AT_ONCE):
                for ids in _encoded(tokenizer, part, vocabulary.sentence, vocabulary.pair):
                    lengths.append(len(ids))
                    array("i", ids).tofile(file)
        for name in ("part", "label", "language", "case"):
            np.save(work / f"{name}.npy", getattr(known, name)[known.kept])
        np.save(work / "length.npy", np.frombuffer(lengths, dtype=np.int64))
        about = {"classes": known.classes, "languages": known.languages, "tokens": sum(lengths)}
        (work / "about.json").write_text(json.dumps(about))
        _put(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _put(work: Path, folder: Path) -> None:
    try:
        work.rename(folder)
    except OSError:
        if not (folder / "about.json").exists():  # otherwise another process was faster, with the same files
            raise


def _only(texts: Iterable[Text], kept: np.ndarray) -> Iterator[Text]:
    for text, keep in zip(texts, kept.tolist(), strict=True):
        if keep:
            yield text


def _batched(texts: Iterable[Text], size: int) -> Iterator[list[Text]]:
    rest = iter(texts)
    while part := list(islice(rest, size)):
        yield part


def _encoded(tokenizer: Any, texts: list[Text], sentence: int | None, pair: int) -> Iterator[list[int]]:
    pieces = [piece for text in texts for piece in (*text.sentences, *([] if text.second is None else [text.second]))]
    found = encoded(tokenizer, pieces)
    for text in texts:
        ids: list[int] = []
        for number in range(len(text.sentences)):
            if number and sentence is not None:
                ids.append(sentence)
            ids += next(found)
        if text.second is not None:
            ids += [pair, *next(found)]
        yield ids


def _first_look(corpus: Corpus, work: Path) -> _Known:
    """What each text is, which are left out and why (`skipped.csv`), and which are held out as test."""
    hashes, part, case = array("Q"), array("b"), array("q")
    label, language = array("q"), array("q")
    classes: dict[str, int] = {}
    languages: dict[str, int] = {}
    skipped: dict[int, str] = {}
    for number, text in enumerate(corpus.texts()):
        whole = "\x1f".join((*text.sentences, text.second or "", text.language or ""))
        if text.left_out:
            skipped[number] = text.left_out
        elif not "".join(text.sentences).strip():
            skipped[number] = "empty"
        elif not _is_decoded(whole + (text.label or "")):
            skipped[number] = "encoding"
        digest = hashlib.blake2b(whole.encode(errors="replace"), digest_size=8).digest()
        hashes.append(int.from_bytes(digest, "little"))
        part.append(UNKNOWN if text.is_test is None else TEST if text.is_test else TRAIN)
        label.append(UNKNOWN if text.label is None else classes.setdefault(text.label, len(classes)))
        language.append(languages.setdefault(text.language or "", len(languages)))
        case.append(UNKNOWN if text.case is None else text.case)
    known = _Known(
        np.frombuffer(part, dtype=np.int8).copy(),
        np.frombuffer(label, dtype=np.int64).copy(),
        np.frombuffer(language, dtype=np.int64).copy(),
        np.frombuffer(case, dtype=np.int64).copy(),
        np.ones(len(part), dtype=bool),
        (),
        (),
    )
    known.kept[list(skipped)] = False
    for number, why in _duplicates(np.frombuffer(hashes, dtype=np.uint64), known).items():
        known.kept[number], skipped[number] = False, why
    known.classes, known.label = _in_order(classes, known.label, known.kept, corpus.classes)
    if set(languages) != {""}:
        known.languages, known.language = _in_order(languages, known.language, known.kept, corpus.languages)
    _hold_out(known, corpus.test_fraction)
    _report_skipped(corpus, skipped, work)
    _check(known)
    return known


def _is_decoded(text: str) -> bool:
    """Whether every byte of a text was one of its encoding; others are lone surrogates now."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _duplicates(hashes: np.ndarray, known: _Known) -> dict[int, str]:
    """Training texts that stand there twice, of which the first with a label stays, or that are test texts too."""
    order = np.lexsort((np.arange(len(hashes)), known.label < 0, known.part != TEST, hashes))
    order = order[known.kept[order]]
    found: dict[int, str] = {}
    for first, second in pairwise(order):
        if hashes[first] == hashes[second] and known.part[second] != TEST:
            found[int(second)] = "duplicate"
    # Of three equal ones, the second and the third both follow an equal one, so each is found.
    return found


def _in_order(
    found: dict[str, int], numbers: np.ndarray, kept: np.ndarray, wanted: tuple[str, ...] | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names that texts which are kept have, in order (numbers by value, others as words), and the positions in it."""
    there = set(numbers[kept].tolist())
    found = {name: number for name, number in found.items() if number in there}
    names = wanted or tuple(
        sorted(found, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))
    )
    if not found:
        return names if wanted else (), numbers
    moved = np.full(max(numbers.max(), 0) + 1, UNKNOWN)
    for place, name in enumerate(names):
        if name in found:
            moved[found[name]] = place
    return names, np.where(numbers >= 0, moved[numbers], numbers)


def _hold_out(known: _Known, fraction: float) -> None:
    """Where no text says that it is a test text, a part of each class of the labelled ones becomes that, always the same."""
    if (known.part == TEST).any():
        known.part[known.part < 0] = TRAIN
        return
    source = np.random.default_rng(0)
    known.part[:] = TRAIN
    for number in range(len(known.classes)):
        own = np.flatnonzero(known.kept & (known.label == number))
        known.part[source.permutation(own)[: round(fraction * len(own))]] = TEST


def _check(known: _Known) -> None:
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


def _report_skipped(corpus: Corpus, skipped: dict[int, str], work: Path) -> None:
    if not skipped:
        return
    with (work / "skipped.csv").open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["place", "reason"])
        for number, text in enumerate(corpus.texts()):
            if number in skipped:
                rows.writerow([text.place, skipped[number]])
    counts = ", ".join(f"{count:,} {why}" for why, count in sorted(Counter(skipped.values()).items()))
    log.info("Note: %s texts are left out (%s); skipped.csv in the cache lists them.", f"{len(skipped):,}", counts)


def _read(folder: Path, has_sentences: bool) -> Dataset:
    about = json.loads((folder / "about.json").read_text())
    flat = torch.empty(0, dtype=torch.int32)
    path, total = folder / "tokens.bin", about["tokens"]
    if os.path.getsize(path) != 4 * total:  # noqa: PTH202
        raise ConfigError(f"{folder}: its tokens are damaged; remove the folder, and they are made again")
    if total:
        flat = torch.from_file(str(path), shared=False, size=total, dtype=torch.int32)
    numbers = {name: torch.from_numpy(np.load(folder / f"{name}.npy")) for name in NUMBERS}
    languages = tuple(about["languages"])
    tokens = Tokens(
        flat,
        numbers["length"].cumsum(0) - numbers["length"],
        numbers["length"],
        numbers["language"].to(torch.uint8) if languages else None,
    )
    vocabulary = vocabulary_of(load_tokenizer(folder / "tokenizer.json"), languages, has_sentences)
    train, test = (numbers["part"] == part for part in (TRAIN, TEST))

    def split(which: Tensor) -> Split:
        return Split(tokens[which], numbers["label"][which])

    classes = tuple(about["classes"])
    return Dataset(split(train), split(test), classes, _cases(numbers["case"][train]), vocabulary=vocabulary)


def _cases(cases: Tensor) -> Tensor | None:
    """Which training texts belong together; None where nothing says so."""
    if not len(cases) or int(cases.max()) < 0:
        return None
    alone = cases == UNKNOWN
    cases[alone] = cases.max() + 1 + torch.arange(int(alone.sum()))
    return cases
