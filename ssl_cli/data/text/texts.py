"""Your own texts, from files."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated

from ssl_cli.config.schema import Bpe, Columns, TextFacts
from ssl_cli.data.text.corpus import Corpus, Text
from ssl_cli.data.text.rows import SUFFIXES, Row, is_readable, read_rows
from ssl_cli.data.text.store import stored
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError

PARTS = ("train", "test", "unlabelled")


def texts(
    root: Path,
    columns: Columns,
    labelled_languages: list[str] | None,
    sentences: str | None,
    encoding: str,
    test_fraction: Annotated[float, "[0, 1)"],
    tokenizer: Bpe,
    cache: Path,
    facts: TextFacts,
) -> Dataset:
    """Your own texts.

    Args:
        root: a file (CSV, TSV, JSON lines or Parquet; the first three also with .gz); a folder with such files named `train`,
            `test` and `unlabelled`; or a folder with a folder of .txt files for each class, or with such folders inside `train`
            and `test`.
        columns: names of a file's columns.
        labelled_languages: whose labels may be used; training texts in other languages have none; null for all.
        sentences: what stands between the sentences of a text; null where nothing marks them.
        encoding: of the files.
        test_fraction: of the labelled texts of each class that is held out where nothing says which are for the test.
        tokenizer: how texts become tokens.
        cache: the folder where tokens are kept.
        facts: what is known.

    Raises:
        ConfigError: a file or a column is missing, or the texts make no data set.
    """
    return stored(corpus_of(root, columns, sentences, encoding, test_fraction), tokenizer, cache, labelled_languages)


def corpus_of(root: Path, columns: Columns, sentences: str | None, encoding: str, test_fraction: float) -> Corpus:
    """The texts of files; the arguments are those of `texts`.

    Raises:
        ConfigError: there are no such files, or two settings contradict each other.
    """
    found = _files(root)
    if columns.document and sentences:
        raise ConfigError(
            "dataset.sentences: rows are the sentences where dataset.columns.document is set; set it to null"
        )
    try:
        "".encode(encoding)
    except LookupError as error:
        raise ConfigError(f"dataset.encoding={encoding}: is not known") from error
    source = {
        "files": {str(path.relative_to(root.parent)): [part, hash_of(path)] for path, part in found},
        "columns": asdict(columns),
        "sentences": sentences,
        "encoding": encoding,
        "test_fraction": test_fraction,
    }
    read = partial(_texts, found, columns, sentences, encoding)
    return Corpus(source, read, bool(sentences or columns.document), test_fraction)


def _files(root: Path) -> list[tuple[Path, str | None]]:
    """The files and folders to read, and the part that their name says they are."""
    if root.is_file():
        return [(root, None)]
    if not root.is_dir():
        raise ConfigError(f"dataset.root={root}: there is no such file or folder")
    named: list[tuple[Path, str | None]] = [
        (path, path.name.split(".")[0])
        for path in sorted(root.iterdir())
        if path.name.split(".")[0] in PARTS and (path.is_dir() or is_readable(path))
    ]
    if named:
        if not any(part != "test" for _, part in named):
            raise ConfigError(f"dataset.root={root}: has test texts and none to train on; add a file named train")
        return named
    if next(root.rglob("*.txt"), None) is None:
        raise ConfigError(
            f"dataset.root={root}: has neither .txt files nor a file named train that ends in {', '.join(SUFFIXES)}"
        )
    return [(root, None)]


def hash_of(path: Path) -> str:
    """A hash of the content of a file, or of all .txt files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*.txt")) if path.is_dir() else [path]:
        digest.update(str(file.relative_to(path.parent)).encode() + b"\0")
        with file.open("rb") as content:
            while part := content.read(1 << 20):
                digest.update(part)
    return digest.hexdigest()


def _texts(
    files: list[tuple[Path, str | None]], columns: Columns, sentences: str | None, encoding: str
) -> Iterator[Text]:
    for path, part in files:
        # A file of unlabelled texts need not have a column for labels.
        rows = read_rows(path, replace(columns, label=None) if part == "unlabelled" else columns, encoding)
        if columns.document is None:
            for row in rows:
                yield _text(row, split_up(row.text, sentences), part)
            continue
        for document, group in groupby(rows, key=lambda row: row.document):
            members = list(group)
            if document is None:
                yield from (_text(row, [row.text], part) for row in members)
                continue
            labelled = next((row for row in members if row.label is not None), members[0])
            yield _text(labelled, [row.text for row in members], part)


def split_up(text: str, mark: str | None) -> tuple[str, ...]:
    """The sentences between marks; without a mark, the text is the only one."""
    return tuple(sentence for sentence in text.split(mark) if sentence.strip()) if mark else (text,)


def _text(row: Row, sentences: Iterable[str], part: str | None) -> Text:
    split = part if part else row.split
    if split is not None and split not in PARTS:
        raise ConfigError(f"dataset.columns.split: {row.place} has {split!r}; must be one of {', '.join(PARTS)}")
    label = None if split == "unlabelled" else row.label
    is_test = None if split is None else split == "test"
    whole = tuple(sentence for sentence in sentences if sentence.strip())
    return Text(whole, row.second, label, row.language, is_test, None, row.place)
