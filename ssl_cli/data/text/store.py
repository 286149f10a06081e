"""Texts are tokenised once, into a folder of the cache whose name is a hash of all that shapes it, and mapped from there."""

import csv
import errno
import hashlib
import json
import shutil
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.schema import Bpe
from ssl_cli.data.language_sampling import quotas
from ssl_cli.data.languages import labelled_in
from ssl_cli.data.made_once import made_by_one
from ssl_cli.data.progress import show_progress
from ssl_cli.data.text.corpus import TEST, TRAIN, Corpus, Text, survey
from ssl_cli.data.text.tokenizer import encoded, load_tokenizer, read_tokenizer, train_tokenizer, vocabulary_of
from ssl_cli.data.tokens import Tokens
from ssl_cli.data.types import UNKNOWN, Dataset, Files, Split, separate_unknown
from ssl_cli.errors import ConfigError

FORMAT = 1  # raised when the same texts give other files
ENCODED_AT_ONCE = 1024
SHOWN_FROM = 20_000  # texts, whose tokenising takes seconds
NUMBERS = ("part", "label", "language", "case", "length")


def stored(corpus: Corpus, bpe: Bpe, cache: Path, labelled_languages: list[str] | None = None) -> Dataset:
    """The data set of a corpus, from the cache or made now, with the labels of some languages or of all (None).

    Raises:
        ConfigError: the texts make no data set, the cache cannot be written, or there is no tokenizer at `bpe.path`.
    """
    given = read_tokenizer(bpe.path) if bpe.path else None
    trained = {key: value for key, value in asdict(bpe).items() if key != "path"}
    tokenizer = trained if given is None else given.to_str()
    shapes = {"format": FORMAT, "source": corpus.source, "tokenizer": tokenizer, "sentences": corpus.has_sentences}
    key = hashlib.sha256(json.dumps(shapes, sort_keys=True).encode()).hexdigest()[:24]
    folder = cache.expanduser() / "texts" / key
    if not (folder / "about.json").exists():
        with made_by_one(cache, folder, "the tokens of these texts", "texts") as mine:
            if not (folder / "about.json").exists():
                _make(corpus, bpe, given, folder, mine.tell)
    return labelled_in(_read(folder, corpus.has_sentences), labelled_languages)


def _make(corpus: Corpus, bpe: Bpe, given: Any, folder: Path, tell: Callable[[int, int], None]) -> None:
    """Tokenise the texts, as the only one that does; `tell` is called with how many of how many are."""
    unfinished = f".making-{folder.name}-"
    for left in folder.parent.glob(f"{unfinished}*"):  # by a command that was killed
        shutil.rmtree(left, ignore_errors=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=unfinished))
    except OSError as error:
        raise ConfigError(f"dataset.cache={folder.parent.parent}: cannot be written ({error.strerror})") from error
    try:
        known = survey(corpus)
        total = int(known.kept.sum())
        language = known.language if known.languages else None
        tokenizer = _trained(corpus, known.kept & (known.part == TRAIN), language, bpe) if given is None else given
        (work / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        vocabulary = vocabulary_of(tokenizer, known.languages, corpus.has_sentences)
        lengths = array("q")
        with (work / "tokens.bin").open("wb") as file:
            texts = _kept(corpus, known.skipped, work)
            texts = show_progress("Tokenising", "texts", total, SHOWN_FROM, texts)
            for part in _batched(texts, ENCODED_AT_ONCE):
                for ids in token_ids(tokenizer, part, vocabulary.sentence, vocabulary.pair):
                    lengths.append(len(ids))
                    array("i", ids).tofile(file)
                tell(len(lengths), total)
        for name in ("part", "label", "language", "case"):
            np.save(work / f"{name}.npy", getattr(known, name)[known.kept])
        np.save(work / "length.npy", np.frombuffer(lengths, dtype=np.int64))
        about = {"classes": known.classes, "languages": known.languages, "tokens": sum(lengths)}
        (work / "about.json").write_text(json.dumps(about))
        _put(work, folder)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, None)
        why = "the disk is full; free some space, or choose a folder on another disk" if full else error.strerror
        raise ConfigError(f"dataset.cache={folder.parent.parent}: cannot be written ({why})") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _trained(corpus: Corpus, train: np.ndarray, language: np.ndarray | None, bpe: Bpe) -> Any:
    """A tokenizer of the training texts, or of as many as the settings say."""
    wanted = np.bincount(_sampled(train, language, bpe), minlength=len(train))
    return train_tokenizer(
        (part for text in _repeated(corpus.texts(), wanted) for part in (*text.sentences, text.second or "")), bpe
    )


def _put(work: Path, folder: Path) -> None:
    try:
        work.rename(folder)
    except OSError:
        if not (folder / "about.json").exists():  # otherwise another process was faster, with the same files
            raise


def _sampled(train: np.ndarray, language: np.ndarray | None, bpe: Bpe) -> np.ndarray:
    """The texts that a tokenizer is trained on: evenly spaced, with languages by their share to a power; some more than once."""
    picked = np.flatnonzero(train)
    total = min(len(picked), bpe.sample)
    if language is None and bpe.language_power != 1:
        raise ConfigError(
            f"dataset.tokenizer.language_power={bpe.language_power:g}: nothing says in which languages the texts are; set it to 1"
        )
    if language is None or bpe.language_power == 1:
        return picked[np.linspace(0, len(picked) - 1, total).astype(int)]
    wanted = quotas(torch.from_numpy(language[picked]).bincount(), bpe.language_power, total).tolist()
    own = [picked[language[picked] == number] for number in range(len(wanted))]
    return np.concatenate(
        [
            texts[np.floor(np.arange(count) * (len(texts) / count)).astype(int)]
            for texts, count in zip(own, wanted, strict=True)
            if count
        ]
    )


def _repeated(texts: Iterable[Text], times: np.ndarray) -> Iterator[Text]:
    for text, count in zip(texts, times.tolist(), strict=True):
        yield from repeat(text, count)


def _kept(corpus: Corpus, skipped: dict[int, str], work: Path) -> Iterator[Text]:
    """The texts that are not left out; `skipped.csv` lists the others."""
    rows = [("place", "reason")]
    for number, text in enumerate(corpus.texts()):
        if number in skipped:
            rows.append((text.place, skipped[number]))
        else:
            yield text
    if skipped:
        with (work / "skipped.csv").open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def _batched(texts: Iterable[Text], size: int) -> Iterator[list[Text]]:
    rest = iter(texts)
    while part := list(islice(rest, size)):
        yield part


def token_ids(tokenizer: Any, texts: list[Text], sentence: int | None, pair: int) -> Iterator[list[int]]:
    """The tokens of each text, with the marks between its sentences and before the second text of a pair."""
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


def _read(folder: Path, has_sentences: bool) -> Dataset:
    try:
        return _whole(folder, has_sentences)
    except (OSError, ValueError, EOFError, KeyError, TypeError, RuntimeError, RecursionError, IndexError) as error:
        raise ConfigError(f"{folder}: is damaged; remove this folder, and the texts are tokenised anew") from error


def _whole(folder: Path, has_sentences: bool) -> Dataset:
    about = json.loads((folder / "about.json").read_text())
    flat = torch.empty(0, dtype=torch.int32)
    path, total = folder / "tokens.bin", about["tokens"]
    if path.stat().st_size != 4 * total:
        raise ValueError("tokens are missing")
    if total:
        flat = torch.from_file(str(path), shared=False, size=total, dtype=torch.int32)
    numbers = {name: torch.from_numpy(np.load(folder / f"{name}.npy")) for name in NUMBERS}
    if int(numbers["length"].sum()) != total or int(numbers["length"].min()) < 0:
        raise ValueError("lengths are not those of the tokens")
    if len({len(each) for each in numbers.values()}) != 1:
        raise ValueError("numbers of different texts")
    languages = tuple(map(str, about["languages"]))
    tokens = Tokens(
        flat,
        numbers["length"].cumsum(0) - numbers["length"],
        numbers["length"],
        numbers["language"].to(torch.uint8) if languages else None,
    )
    vocabulary = vocabulary_of(load_tokenizer(folder / "tokenizer.json"), languages, has_sentences)
    if total:
        least, largest = flat.aminmax()
        if least < 0 or largest >= vocabulary.size:
            raise ValueError("tokens that are not in the vocabulary")
    train, test = (numbers["part"] == part for part in (TRAIN, TEST))

    def split(which: Tensor) -> Split:
        return Split(tokens[which], numbers["label"][which])

    classes = tuple(map(str, about["classes"]))
    if int(numbers["label"].max()) >= max(len(classes), 1):
        raise ValueError("a class without a name")
    cases = _cases(numbers["case"][train])
    return Dataset(split(train), split(test), classes, cases, vocabulary=vocabulary, files=_left_out(folder))


def _left_out(folder: Path) -> Files | None:
    """What was left out of the texts, and why."""
    path = folder / "skipped.csv"
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return Files(str(folder), (), (), [(place, reason) for place, reason in rows], held_out=False)


def _cases(cases: Tensor) -> Tensor | None:
    """Which training texts belong together; None where nothing says so."""
    return separate_unknown(cases) if (cases != UNKNOWN).any() else None
