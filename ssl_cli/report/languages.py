"""Accuracy in each language: what tables say of it, and a picture."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_cli.report import plots
from ssl_cli.report.numbers import over_seeds, percent

COLUMNS = 8  # languages of a table


def of_seeds(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What rows of a table say of languages: under `languages` by name, or nothing where the runs do not know of any.

    For each: `inputs`, the number of test texts; `labels`, that of the labels in training, a mean over seeds, None where unknown;
    `accuracy` and `macro_f1` with mean and spread.
    """
    found = [run["languages"] for run in runs if run.get("languages")]
    if not found or len(found) < len(runs):
        return {}
    return {"languages": {name: _one([each[name] for each in found]) for name in found[0]}}


def _one(runs: list[dict[str, Any]]) -> dict[str, Any]:
    labels = [run["labels"] for run in runs]
    return {
        "inputs": runs[0]["inputs"],
        "labels": None if None in labels else statistics.mean(labels),
        "accuracy": over_seeds([run["accuracy"] for run in runs]),
        "macro_f1": over_seeds([run["macro_f1"] for run in runs]),
    }


def tables(rows: list[dict[str, Any]]) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Headings and lines, one line an arm, of tables with a few languages each; none where no languages are known."""
    spoken = [row for row in rows if row.get("languages")]
    names = list(dict.fromkeys(name for row in spoken for name in row["languages"]))
    for first in range(0, len(names), COLUMNS):
        shown = names[first : first + COLUMNS]
        numbers = [next(row["languages"][name] for row in spoken if name in row["languages"]) for name in shown]
        lines = [(row["arm"], *(_cell(row["languages"].get(name)) for name in shown)) for row in spoken]
        yield ("arm", *map(_heading, shown, numbers)), lines


def _heading(name: str, numbers: dict[str, Any]) -> str:
    labels = "" if numbers["labels"] is None else f"{numbers['labels']:,.0f} labels\n"
    return f"{name}\n{labels}{numbers['inputs']:,} texts"


def _cell(numbers: dict[str, Any] | None) -> str:
    return "" if numbers is None else f"{percent(numbers['accuracy'])}\n{percent(numbers['macro_f1'])}"


def save(rows: list[dict[str, Any]], path: Path) -> None:
    """One line per language, a dot per arm with an error bar of one standard deviation; labelled languages are marked."""
    spoken = [row for row in rows if row.get("languages")]
    names = list(spoken[0]["languages"])
    titles = [f"{name} *" if spoken[0]["languages"][name]["labels"] else name for name in names]
    plots.save_dots(
        titles,
        {row["arm"]: [row["languages"][name]["accuracy"] for name in names] for row in spoken},
        "test accuracy, % (*: with labels)",
        path,
    )
