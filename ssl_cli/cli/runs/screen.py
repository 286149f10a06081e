"""Tables of runs that fit the terminal; nothing that stands in a file or a name steers it."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from ssl_cli.data.progress import show_progress
from ssl_cli.runs.files import printable, short

GAP = 2  # spaces between columns
SHOWN_FROM = 100  # runs that take long enough to read for a bar


def show_table(
    heads: Sequence[str], lines: Sequence[Sequence[str]], numbers: Sequence[str] = (), beneath: Sequence[str] = ()
) -> None:
    """Print a table: one line each in a file or a pipe, and fitted to the width of a terminal.

    Args:
        heads: of the columns; empty columns are left out.
        lines: of cells.
        numbers: the heads of columns that stand right.
        beneath: the heads of columns that stand on a line of their own below the others where the terminal is narrow, those
            that leave first at the front.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    kept = [place for place in range(len(heads)) if any(line[place] for line in lines)]
    rows = [[printable(line[place]) for place in kept] for line in lines]
    titles = [printable(heads[place]) for place in kept]
    moved: list[int] = []
    for head in beneath:
        if head in titles and _width(titles, rows, moved) > width:
            moved.append(titles.index(head))
    fitting = list(rows)
    while fitting and _width(titles, fitting, moved) > width:
        fitting.remove(max(fitting, key=lambda row: sum(len(row[place]) for place in _others(row, moved))))
    widths = _widths(titles, fitting, moved)
    right = [title in numbers for title in titles]
    heading = _row(titles, widths, right)
    print(f"\033[1m{heading}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else heading)
    for row in rows:
        more = [row[place] for place in sorted(moved) if row[place]]
        if any(row is one for one in fitting):
            print(_row(row, widths, right))
        else:
            print(row[0])
            more = [f"{titles[place]} {row[place]}".strip() for place in _others(row, moved)[1:] if row[place]] + more
        if more:
            print(textwrap.fill("; ".join(more), min(width, 120), initial_indent="    ", subsequent_indent="    "))


def _others(row: Sequence[str], moved: Sequence[int]) -> list[int]:
    """The places of the columns that stand side by side."""
    return [place for place in range(len(row)) if place not in moved]


def _widths(titles: Sequence[str], rows: Sequence[Sequence[str]], moved: Sequence[int]) -> dict[int, int]:
    """How wide each of the columns is that stand side by side."""
    return {place: max(cell_len(row[place]) for row in (titles, *rows)) for place in _others(titles, moved)}


def _width(titles: Sequence[str], rows: Sequence[Sequence[str]], moved: Sequence[int]) -> int:
    widths = _widths(titles, rows, moved)
    return sum(widths.values()) + GAP * (len(widths) - 1)


def _row(cells: Sequence[str], widths: dict[int, int], right: Sequence[bool]) -> str:
    padded: list[str] = []
    for place, width in widths.items():
        space = " " * (width - cell_len(cells[place]))
        padded.append(space + cells[place] if right[place] else cells[place] + space)
    return (" " * GAP).join(padded).rstrip()


def reading_bar(folders: list[Path]) -> Iterable[Path]:
    """Goes through folders of runs, with a bar where there are many."""
    return show_progress("reading", "runs", len(folders), SHOWN_FROM, folders)


def say(text: str) -> None:
    """Print one line."""
    print(printable(text))


def percent(share: float | None) -> str:
    """A share in per cent; nothing where there is none."""
    return "" if share is None else f"{100 * share:.1f} %"


def duration(seconds: float | None) -> str:
    """Seconds as a person says them; nothing where they are not known."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min"


def size(count: float) -> str:
    """Bytes as a person says them."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def when(said: str) -> str:
    """A moment in ISO 8601, to the minute; nothing where it is none."""
    try:
        return datetime.fromisoformat(said).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return ""


def number_text(value: Any) -> str:
    """A number as it is compared, others as they are; nothing for None."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def inside(folder: Path, root: Path) -> str:
    """A run's folder as seen from the one that was asked for; that one itself as one would type it."""
    return short(folder) if folder == root else folder.relative_to(root).as_posix()
