"""The files of a cache of tokens: written in pieces, so that an interrupted command is gone on with, and mapped.

All tokens, text after text, are in files of `shards.BYTES`, int32, each beside the lengths of its texts while others are still to
be made. `about.json` is written last: with it the cache is whole. Files are not read at the start, but checked as they are read.
"""

import contextlib
import csv
import json
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data import shards
from ssl_cli.data.text.corpus import TEST, TRAIN
from ssl_cli.data.text.tokenizer import load_tokenizer, vocabulary_of
from ssl_cli.data.tokens import Tokens
from ssl_cli.data.types import UNKNOWN, Dataset, Files, Split, separate_unknown
from ssl_cli.data.workplace import Workplace
from ssl_cli.errors import ConfigError

ABOUT, TOKENIZER, SKIPPED = "about.json", "tokenizer.json", "skipped.csv"
NUMBERS = ("part", "label", "language", "case", "length")
ONE = "tokens.bin"  # has all tokens in a cache of an earlier version


def _tokens(number: int) -> str:
    return f"tokens-{number:05}.bin"


def _lengths(number: int) -> str:
    return f"lengths-{number:05}.npy"


def finished(folder: Path) -> list[np.ndarray]:
    """The lengths of the texts in each file of tokens that is whole, up to the first one that is not there."""
    found: list[np.ndarray] = []
    with contextlib.suppress(OSError, ValueError, EOFError):
        for number in count():
            lengths = np.load(folder / _lengths(number))
            if (folder / _tokens(number)).stat().st_size != 4 * int(lengths.sum()):
                break
            found.append(lengths)
    return found


def write_tokens(
    place: Workplace, first: int, batches: Iterable[Iterable[list[int]]], tell: Callable[[int], None]
) -> list[np.ndarray]:
    """Write the tokens of texts into files that are numbered from `first` on; returns the lengths of the texts in each.

    Args:
        place: where.
        first: how many files there are.
        batches: the tokens of each text, of some texts at a time.
        tell: is called with how many texts are done.

    Raises:
        OSError: they cannot be written.
    """
    written: list[np.ndarray] = []
    done, rest = 0, iter(batches)
    for number in count(first):
        batch = next(rest, None)
        if batch is None:
            break
        lengths, size = array("q"), 0
        with place.writing(_tokens(number)) as file:
            while batch is not None:
                for ids in batch:
                    lengths.append(len(ids))
                    array("i", ids).tofile(file)
                    size += 4 * len(ids)
                tell(done + len(lengths))
                batch = next(rest, None) if size < shards.BYTES else None
            written.append(np.array(lengths, dtype=np.int64))
            with place.writing(_lengths(number)) as beside:  # first: a file of tokens is whole where it has one
                np.save(beside, written[-1])
        done += len(lengths)
    return written


def write_about(
    place: Workplace,
    lengths: Sequence[np.ndarray],
    numbers: Mapping[str, np.ndarray],
    classes: Sequence[str],
    languages: Sequence[str],
) -> None:
    """Write what is known of all texts, at last that they are whole.

    Args:
        place: where.
        lengths: of the texts in each file of tokens.
        numbers: part, class, language and case of each text.
        classes, languages: their names.
    """
    for name, values in {**numbers, "length": np.concatenate([np.zeros(0, np.int64), *lengths])}.items():
        with place.writing(f"{name}.npy") as file:
            np.save(file, values)
    sizes = [int(each.sum()) for each in lengths]
    about = {"classes": classes, "languages": languages, "tokens": sum(sizes), "files": sizes}
    with place.writing(ABOUT) as file:
        file.write(json.dumps(about).encode())
    for number in range(len(lengths)):
        (place.folder / _lengths(number)).unlink(missing_ok=True)


def read_tokens(folder: Path, has_sentences: bool) -> Dataset:
    """The data set whose tokens are in a folder, mapped; each is checked when it is read.

    Raises:
        ConfigError: the folder is damaged.
    """
    try:
        return _whole(folder, has_sentences)
    except (OSError, ValueError, EOFError, KeyError, TypeError, RuntimeError, RecursionError, IndexError) as error:
        raise _damaged(folder) from error


def _damaged(folder: Path) -> ConfigError:
    return ConfigError(f"{folder}: is damaged; remove this folder, and the texts are tokenised anew")


def _whole(folder: Path, has_sentences: bool) -> Dataset:
    about = json.loads((folder / ABOUT).read_text())
    languages, classes = (tuple(map(str, about[name])) for name in ("languages", "classes"))
    vocabulary = vocabulary_of(load_tokenizer(folder / TOKENIZER), languages, has_sentences)
    flat = _mapped(folder, about, vocabulary.size)
    numbers = {name: torch.from_numpy(np.load(folder / f"{name}.npy")) for name in NUMBERS}
    if int(numbers["length"].sum()) != len(flat) or int(numbers["length"].min()) < 0:
        raise ValueError("lengths are not those of the tokens")
    if len({len(each) for each in numbers.values()}) != 1:
        raise ValueError("numbers of different texts")
    tokens = Tokens(
        flat,
        numbers["length"].cumsum(0) - numbers["length"],
        numbers["length"],
        numbers["language"].to(torch.uint8) if languages else None,
    )
    train, test = (numbers["part"] == part for part in (TRAIN, TEST))

    def split(which: Tensor) -> Split:
        return Split(tokens[which], numbers["label"][which])

    if int(numbers["label"].max()) >= max(len(classes), 1):
        raise ValueError("a class without a name")
    cases = _cases(numbers["case"][train])
    return Dataset(split(train), split(test), classes, cases, vocabulary=vocabulary, files=_left_out(folder))


def _mapped(folder: Path, about: dict[str, Any], vocabulary: int) -> shards.Shards:
    """All tokens, which raise ConfigError when they are read and are none of a vocabulary of this size."""
    sizes = about.get("files", [about["tokens"]])
    names = map(_tokens, count()) if "files" in about else [ONE]
    places = [(folder / name, size) for name, size in zip(names, sizes, strict=False) if size]
    if any(path.stat().st_size != 4 * size for path, size in places):
        raise ValueError("tokens are missing")

    def check(read: Tensor) -> None:
        if len(read):
            least, largest = read.aminmax()
            if least < 0 or largest >= vocabulary:
                raise _damaged(folder)

    parts = [shards.mapped(path, torch.int32, size) for path, size in places]
    return shards.Shards(parts or [torch.empty(0, dtype=torch.int32)], check=check)


def _left_out(folder: Path) -> Files | None:
    """What was left out of the texts, and why."""
    path = folder / SKIPPED
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    return Files(str(folder), (), (), [(place, reason) for place, reason in rows], held_out=False)


def _cases(cases: Tensor) -> Tensor | None:
    """Which training texts belong together; None where nothing says so."""
    return separate_unknown(cases) if (cases != UNKNOWN).any() else None
