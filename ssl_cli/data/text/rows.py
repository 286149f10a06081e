"""Texts as they stand in files: tables, JSON lines, Parquet, and folders with a .txt file each."""

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ssl_cli.config.schema import Columns
from ssl_cli.errors import ConfigError

TABLES = {".csv": ",", ".tsv": "\t"}
LINES = (".jsonl", ".ndjson")
SUFFIXES = (*TABLES, *LINES, ".parquet")
csv.field_size_limit(sys.maxsize)


class Row(NamedTuple):
    """One text; what is None is not known, as what stands in an empty cell. `place` is the file and the row, for messages."""

    text: str
    second: str | None
    label: str | None
    language: str | None
    document: str | None
    split: str | None
    place: str


def read_rows(path: Path, columns: Columns, encoding: str) -> Iterator[Row]:
    """The rows of a file, or of a folder with a folder of .txt files for each class.

    Raises:
        ConfigError: a column is missing, a row has another number of cells, or the format is not known.
    """
    if path.is_dir():
        yield from _folder_rows(path, encoding)
        return
    for number, record in read_records(path, encoding):
        place = f"{path.name}:{number}"
        if columns.text not in record:
            raise ConfigError(
                f"dataset.columns.text={columns.text}: {path} has no such column; it has {listed(record)}"
            )
        found: dict[str, str | None] = {}
        for key, name in vars(columns).items():
            if name is not None and name not in record:
                raise ConfigError(f"dataset.columns.{key}={name}: {path} has no such column; it has {listed(record)}")
            value = None if name is None else record[name]
            found[key] = None if value is None or value != value or value == "" else str(value)
        yield Row(**{**found, "text": found["text"] or "", "place": place})  # pyright: ignore[reportArgumentType]


def is_readable(path: Path) -> bool:
    """Whether a file's name ends as one of the formats do, compressed or not."""
    return _suffix(path) in SUFFIXES


def is_decoded(text: str) -> bool:
    """Whether every byte of a text was one of its encoding; others are lone surrogates now."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def listed(record: dict[str, Any]) -> str:
    """The columns of a file, or the first ones, for messages."""
    return ", ".join(map(str, list(record)[:12]))


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()


def _open(path: Path, encoding: str) -> TextIO:
    # What does not decode becomes a lone surrogate, by which the reader of rows knows the text and leaves it out.
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return opener(path, "rt", encoding=encoding, errors="surrogateescape", newline="")  # pyright: ignore[reportReturnType]


def read_records(path: Path, encoding: str, key: str = "dataset.root") -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a file with their numbers, each with a value for each column; `key` is the setting that names it.

    Raises:
        ConfigError: the format is not known, or the file is damaged.
    """
    suffix = _suffix(path)
    if suffix == ".parquet":
        yield from _parquet_records(path, key)
        return
    try:
        yield from _written_records(path, suffix, encoding, key)
    except (OSError, EOFError, UnicodeError, zlib.error, csv.Error) as error:
        raise ConfigError(f"{key}={path}: cannot be read to its end ({error})") from error


def _written_records(path: Path, suffix: str, encoding: str, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    with _open(path, encoding) as file:
        if suffix in LINES:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _object(key, path, number, line.removeprefix("\ufeff"))
        elif suffix in TABLES:
            quoting = csv.QUOTE_NONE if suffix == ".tsv" else csv.QUOTE_MINIMAL
            reader = csv.reader(file, delimiter=TABLES[suffix], quoting=quoting)
            header = [name.removeprefix("\ufeff") for name in next(reader, [])]
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise ConfigError(
                        f"{key}={path}: row {reader.line_num} has {len(cells)} cells, and the header has {len(header)}"
                    )
                yield reader.line_num, dict(zip(header, cells, strict=True))
        else:
            raise ConfigError(f"{key}={path}: must end in {', '.join(SUFFIXES)}, or be a folder")


def _object(key: str, path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"{key}={path}: line {number} is no JSON ({error})") from error
    if not isinstance(record, dict):
        raise ConfigError(f"{key}={path}: line {number} must be a JSON object with a key for each column")
    return record


def _parquet_records(path: Path, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise ConfigError(f"{key}={path}: Parquet needs pyarrow; pip install pyarrow") from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for part in file.iter_batches():
                for record in part.to_pylist():
                    number += 1
                    yield number, record
    except (ArrowException, OSError) as error:
        raise ConfigError(f"{key}={path}: is no readable Parquet file ({error})") from error


def _folder_rows(root: Path, encoding: str) -> Iterator[Row]:
    """A text a file; its label is the name of the folder that it is in, and files right in `root` have none."""
    for path in sorted(root.rglob("*.txt")):
        inside = path.relative_to(root).parts
        label = inside[0] if len(inside) > 1 else None
        try:
            text = path.read_bytes().decode(encoding, errors="surrogateescape").removeprefix("\ufeff")
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"dataset.root={path}: cannot be read to its end ({error})") from error
        yield Row(text, None, label, None, None, None, str(path.relative_to(root)))
