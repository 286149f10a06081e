"""Texts are tokenised once, into a folder of the cache whose name is a hash of all that shapes it, and mapped from there."""

import contextlib
import errno
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_cli.config.schema import Bpe
from ssl_cli.data.language_sampling import quotas
from ssl_cli.data.languages import labelled_in
from ssl_cli.data.made_once import made_by_one
from ssl_cli.data.progress import show_progress
from ssl_cli.data.text.corpus import TRAIN, Corpus, Text, survey
from ssl_cli.data.text.files import ABOUT, SKIPPED, TOKENIZER, finished, read_tokens, write_about, write_tokens
from ssl_cli.data.text.tokenizer import encoded, load_tokenizer, read_tokenizer, train_tokenizer, vocabulary_of
from ssl_cli.data.types import Dataset
from ssl_cli.data.workplace import Workplace, workplace
from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import as_csv

FORMAT = 1  # raised when the same texts give other files
ENCODED_AT_ONCE = 1024
SHOWN_FROM = 20_000  # texts, whose tokenising takes seconds


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
    if not (folder / ABOUT).exists():
        with made_by_one(cache, folder, "the tokens of these texts", "texts") as mine:
            if not (folder / ABOUT).exists():
                _make(corpus, bpe, given, folder, mine.tell)
    return labelled_in(read_tokens(folder, corpus.has_sentences), labelled_languages)


def _make(corpus: Corpus, bpe: Bpe, given: Any, folder: Path, tell: Callable[[int, int], None]) -> None:
    """Tokenise the texts, or go on with it; `tell` is called with how many of how many are."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with workplace(folder) as place:
            known = survey(corpus)
            language = known.language if known.languages else None
            if not (folder / TOKENIZER).exists():
                made = _trained(corpus, known.kept & (known.part == TRAIN), language, bpe) if given is None else given
                with place.writing(TOKENIZER) as file:
                    file.write(made.to_str(pretty=True).encode())
            tokenizer = load_tokenizer(folder / TOKENIZER)
            vocabulary = vocabulary_of(tokenizer, known.languages, corpus.has_sentences)
            total = int(known.kept.sum())
            there = finished(folder)
            done = sum(map(len, there))
            texts = islice(_kept(corpus, known.skipped, place), done, None)
            texts = show_progress("Tokenising", "texts", total - done, SHOWN_FROM, texts)
            written = write_tokens(
                place,
                len(there),
                (token_ids(tokenizer, some, vocabulary.sentence, vocabulary.pair) for some in _batched(texts)),
                lambda more: tell(done + more, total),
            )
            numbers = {name: getattr(known, name)[known.kept] for name in ("part", "label", "language", "case")}
            write_about(place, [*there, *written], numbers, known.classes, known.languages)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, None)
        why = "the disk is full; free some space, or choose a folder on another disk" if full else error.strerror
        raise ConfigError(f"dataset.cache={folder.parent.parent}: cannot be written ({why})") from error
    finally:
        with contextlib.suppress(OSError):  # something is there to go on with
            folder.rmdir()


def _trained(corpus: Corpus, train: np.ndarray, language: np.ndarray | None, bpe: Bpe) -> Any:
    """A tokenizer of the training texts, or of as many as the settings say."""
    wanted = np.bincount(_sampled(train, language, bpe), minlength=len(train))
    return train_tokenizer(
        (part for text in _repeated(corpus.texts(), wanted) for part in (*text.sentences, text.second or "")), bpe
    )


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


def _kept(corpus: Corpus, skipped: dict[int, str], place: Workplace) -> Iterator[Text]:
    """The texts that are not left out; `skipped.csv` lists the others."""
    rows = [("place", "reason")]
    for number, text in enumerate(corpus.texts()):
        if number in skipped:
            rows.append((text.place, skipped[number]))
        else:
            yield text
    if skipped:
        with place.writing(SKIPPED) as file:
            file.write(as_csv(rows))


def _batched(texts: Iterable[Text]) -> Iterator[list[Text]]:
    rest = iter(texts)
    while part := list(islice(rest, ENCODED_AT_ONCE)):
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
