"""Texts of files that belong to no data set, and texts as the tokens of a network that is finished."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ssl_cli.data.find_files import find_files
from ssl_cli.data.text.corpus import Text
from ssl_cli.data.text.rows import SUFFIXES, is_decoded, is_readable, listed, read_records
from ssl_cli.data.text.store import token_ids
from ssl_cli.data.text.texts import split_up
from ssl_cli.data.text.tokenizer import from_text
from ssl_cli.data.tokens import Tokens, Vocabulary
from ssl_cli.errors import ConfigError

PLAIN = ".txt"


def find_texts(key: str, path: Path) -> tuple[dict[str, Path], list[str]]:
    """The files of texts at a path by their names relative to it, in order, and the names of other files that are not hidden.

    Raises:
        ConfigError: `key`=`path` is a file of another format, or has a folder that cannot be read.
    """
    if path.is_file():
        if not _is_text(path):
            raise ConfigError(f"{key}={path}: must end in {PLAIN}, {', '.join(SUFFIXES)}, or be a folder of such files")
        return {path.name: path}, []
    return find_files(key, path, _is_text)


def read_texts(key: str, name: str, path: Path, column: str) -> Iterator[tuple[str, str | None, str]]:
    """The texts of a file as `NAME:ROW`, the text and why it cannot be used, or an empty string. A .txt file is one text.

    Raises:
        ConfigError: a table has no such column; or `key`, of which it is a file, cannot be read to its end.
    """
    if path.suffix.lower() == PLAIN:
        try:
            text = path.read_bytes().decode("utf-8", errors="surrogateescape").removeprefix("\ufeff")
        except OSError as error:
            yield f"{name}:1", None, f"cannot be read ({error.strerror})"
            return
        yield f"{name}:1", text, _problem(text)
        return
    for number, record in read_records(path, "utf-8", key):
        if column not in record:
            raise ConfigError(f"stage.column={column}: {path} has no such column; it has {listed(record)}")
        value = record[column]
        text = "" if value is None or value != value else str(value)
        yield f"{name}:{number}", text, _problem(text)


def tokens_of(texts: Sequence[str], vocabulary: Vocabulary, mark: str | None) -> Tokens:
    """Texts as tokens.

    Args:
        texts: as they were written.
        vocabulary: of the network.
        mark: what stands between sentences, where the network's texts had such marks.
    """
    split = [Text(split_up(text, mark) if vocabulary.sentence is not None else (text,)) for text in texts]
    found = list(token_ids(from_text(vocabulary.tokenizer), split, vocabulary.sentence, vocabulary.pair))
    lengths = torch.tensor([len(ids) for ids in found], dtype=torch.int64)
    flat = torch.tensor([number for ids in found for number in ids], dtype=torch.int32)
    return Tokens(flat, lengths.cumsum(0) - lengths, lengths)


def _is_text(path: Path) -> bool:
    return path.suffix.lower() == PLAIN or is_readable(path)


def _problem(text: str) -> str:
    if not text.strip():
        return "empty"
    return "" if is_decoded(text) else "not UTF-8"
