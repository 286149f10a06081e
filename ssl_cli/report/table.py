"""Runs side by side: one row an arm and a number of labels, over seeds."""

import statistics
from collections import defaultdict
from typing import Any

from ssl_cli.schema import Config


def arm_name(config: Config) -> str:
    """What a supervised run is called in every table."""
    augmented = any(getattr(step, "p", 0) for step in config.augment.supervised.arguments.values())
    if config.stage.frozen:
        start = "random weights" if config.stage.name == "baseline" else "pre-trained"
        return f"{start}, frozen"
    if config.stage.name == "baseline":
        return "labels only, with augmentation" if augmented else "labels only"
    layers = len(config.head.projection.arguments.get("widths", ()))
    if config.head.keep == 0:
        return "pre-trained, new head"
    if config.head.keep in ("all", layers):
        return "pre-trained, same head"
    return f"pre-trained, {config.head.keep} of {layers} head layers kept"


def rows(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Arms in the order of their first appearance, by labels; runs on a collapsed pre-training are counted apart.

    Each row: arm, labels, collapsed, seeds (the list), accuracies (theirs), mean, spread (the standard deviation over
    seeds, None for one), seconds (the mean).
    """
    groups: dict[tuple, dict[int, dict[str, Any]]] = defaultdict(dict)
    for result in results:
        collapsed = bool(result["pretraining"] and result["pretraining"]["collapsed"])
        groups[result["arm"], result["labels"], collapsed][result["seed"]] = result
    order = list(dict.fromkeys(arm for arm, _, _ in groups))
    made = []
    for arm, labels, collapsed in sorted(groups, key=lambda key: (key[1], order.index(key[0]), key[2])):
        runs = groups[arm, labels, collapsed]
        accuracies = [run["test_accuracy"] for run in runs.values()]
        made.append(
            {
                "arm": arm + (" (collapsed)" if collapsed else ""),
                "labels": labels,
                "collapsed": collapsed,
                "seeds": list(runs),
                "accuracies": accuracies,
                "mean": statistics.mean(accuracies),
                "spread": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
                "seconds": statistics.mean(run["seconds"] for run in runs.values()),
            }
        )
    return made


def cells(row: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """A row as people read it."""
    spread = "" if row["spread"] is None else f" ± {100 * row['spread']:.1f}"
    return (
        row["arm"],
        f"{row['labels']:,}",
        str(len(row["seeds"])),
        f"{100 * row['mean']:.1f} %{spread}",
        f"{row['seconds']:.0f}",
    )


HEADINGS = ("arm", "labels", "seeds", "test accuracy", "seconds")


def show(made: list[dict[str, Any]], title: str) -> None:
    """The table on the terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == "arm" else "right", no_wrap=True)
    for row in made:
        table.add_row(*cells(row))
    Console(width=None if Console().is_terminal else 100).print(table)
