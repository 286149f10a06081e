"""A table that lists training inputs, by their paths or their numbers: what is to be labelled, or whose labels may be seen."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ssl_cli.errors import ConfigError

NAMES = ("class", "label")  # columns that may say the class; in labels.csv of a run, `label` is its number
LONGEST = 18  # digits of a number of an input


@dataclass(frozen=True)
class ListedItem:
    """A row: the input's path below the data set's root, or its number among the training inputs; None where a column is missing.

    label: the name of its class, empty where the row says none; None where no column could.
    """

    path: str | None
    item: int | None
    label: str | None


def read_item_list(key: str, path: Path) -> list[ListedItem]:
    """The rows of the table that `key`=`path` names, in their order: CSV in UTF-8 with a column path or item, and maybe label.

    Raises:
        ConfigError: there is no such file, no such column, no row, or a row that cannot be meant.
    """
    asked = f"{key}={path}"
    if not path.is_file():
        raise ConfigError(f"{asked}: there is no such file")
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            found = list(_rows(asked, csv.DictReader(file)))
    except (OSError, csv.Error) as error:
        raise ConfigError(f"{asked}: cannot be read to its end ({error})") from error
    if not found:
        raise ConfigError(f"{asked}: lists no input")
    return found


def _rows(asked: str, rows: "csv.DictReader[str]") -> Iterator[ListedItem]:
    columns = rows.fieldnames or []
    if not {"path", "item"} & set(columns):
        raise ConfigError(
            f"{asked}: must be CSV with a column path or item; its first line has {', '.join(columns[:12]) or 'nothing'}"
        )
    name = next((column for column in NAMES if column in columns), None)
    for row in rows:
        number = (row.get("item") or "").strip()
        if number and not (number.isdecimal() and len(number) <= LONGEST):
            raise ConfigError(
                f"{asked}: row {rows.line_num} has item {number[:LONGEST]!r}; must be a whole number at least 0"
            )
        path = row.get("path") or None
        if path is None and not number:
            raise ConfigError(f"{asked}: row {rows.line_num} has neither a path nor an item")
        yield ListedItem(path, int(number) if number else None, None if name is None else (row[name] or "").strip())
