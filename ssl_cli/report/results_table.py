"""`results.csv`: one line a run, with what a person needs to draw and count for themselves."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ssl_cli.report.found_runs import FinishedRun
from ssl_cli.report.settings_of_arms import PLACES
from ssl_cli.runs.files import as_csv, printable, short, write
from ssl_cli.runs.reading import flattened, number
from ssl_cli.runs.varying import what_varies

COLUMNS = ("folder", "stage", "arm", "dataset", "labels", "seed")
NOT_RESULTS = ("format", *COLUMNS, "environment", "compile")  # what a run was, and on which machine
FORMULA = "=+-@＝＋－＠"  # what a text begins with that a spreadsheet would compute, in letters of full width too


def write_results(runs: Sequence[FinishedRun], path: Path) -> None:
    """Write the table: the runs in their order, settings in which they differ, and every number of their results."""
    settings = what_varies({run.folder: run.seen.settings for run in runs})
    numbers = {run.folder: dict(_numbers(run.result)) for run in runs}
    varied = [key for key in dict.fromkeys(key for own in settings.values() for key in own) if key not in PLACES]
    measured = list(dict.fromkeys(key for own in numbers.values() for key in own))
    names = [f"result.{key}" if key in varied else key for key in measured]
    rows: list[list[Any]] = [[*COLUMNS, *varied, *names]]
    for run in runs:
        about = [short(run.folder), *(run.result.get(key) for key in COLUMNS[1:])]
        own, found = settings[run.folder], numbers[run.folder]
        rows.append([*about, *(own.get(key) for key in varied), *(found.get(key) for key in measured)])
    write(path, as_csv([shown_cells(row) for row in rows]))


def shown_cells(row: Sequence[Any]) -> list[Any]:
    """Cells that a spreadsheet shows as they are: numbers as numbers, nothing for None, and no text that it would compute."""
    return [cell if number(cell) is not None else _harmless(cell) for cell in row]


def _harmless(cell: Any) -> str:
    """A text with an apostrophe before what would begin a formula, which spreadsheets take for a mark of text."""
    if cell is None:
        return ""
    text = printable(str(cell).lower() if isinstance(cell, bool) else str(cell))
    return f"'{text}" if text.lstrip()[:1] and text.lstrip()[0] in FORMULA else text


def _numbers(result: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in flattened(result):
        if key.partition(".")[0] not in NOT_RESULTS and (number(value) is not None or isinstance(value, bool)):
            yield key, value
