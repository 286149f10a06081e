"""Tables of runs: one row per arm and number of labels, over seeds."""

import statistics
from collections import defaultdict
from typing import Any

from ssl_cli.report import languages
from ssl_cli.report.arms import COLLAPSED
from ssl_cli.report.numbers import over_seeds, percent


def rows(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by number of labels, then by first appearance of the arm; runs with a collapsed pre-training are separate.

    Each row: arm, labels, collapsed, seeds (the list), accuracies (theirs), mean, spread (the standard deviation over
    seeds, None for one), macro_f1 and seconds (means), backbone_parameters, images_per_second (the mean).
    """
    groups: dict[tuple, dict[int, dict[str, Any]]] = defaultdict(dict)
    for result in results:
        collapsed = bool(result["pretraining"] and result["pretraining"]["collapsed"])
        groups[result["arm"], result["labels"], collapsed][result["seed"]] = result
    order = list(dict.fromkeys(arm for arm, _, _ in groups))
    made = []
    for arm, labels, collapsed in sorted(groups, key=lambda key: (key[1], order.index(key[0]), key[2])):
        runs = dict(sorted(groups[arm, labels, collapsed].items()))
        accuracies = [run["test_accuracy"] for run in runs.values()]
        made.append(
            {
                "arm": arm + (COLLAPSED if collapsed else ""),
                "labels": labels,
                "collapsed": collapsed,
                "seeds": list(runs),
                "accuracies": accuracies,
                "mean": statistics.mean(accuracies),
                "spread": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
                "macro_f1": _mean([run.get("macro_f1") for run in runs.values()]),
                "seconds": statistics.mean(run["seconds"] for run in runs.values()),
                "backbone_parameters": next(iter(runs.values()))["backbone_parameters"],
                "images_per_second": _mean([run["images_per_second"] for run in runs.values()]),
                **languages.of_seeds(list(runs.values())),
            }
        )
    return made


def _mean(numbers: list[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return statistics.mean(known) if len(known) == len(numbers) else None


def headings(made: list[dict[str, Any]], measure: str = "test accuracy") -> tuple[str, ...]:
    """Headings of `cells`; the network's size is a column if it varies."""
    sizes = ("parameters", "inputs/s") if _sizes_vary(made) else ()
    f1 = ("macro-F1",) if _has_f1(made) else ()
    return ("arm", *sizes, "labels", "seeds", measure, *f1, "seconds")


def cells(row: dict[str, Any], made: list[dict[str, Any]]) -> tuple[str, ...]:
    """A row of the table as text."""
    spread = "" if row["spread"] is None else f" ± {100 * row['spread']:.1f}"
    known = ("backbone_parameters", "images_per_second") if _sizes_vary(made) else ()
    sizes = ("" if row[key] is None else f"{row[key]:,.0f}" for key in known)
    return (
        row["arm"],
        *sizes,
        f"{row['labels']:,}",
        str(len(row["seeds"])),
        f"{100 * row['mean']:.1f} %{spread}",
        *([f"{100 * row['macro_f1']:.1f} %" if row["macro_f1"] is not None else ""] if _has_f1(made) else []),
        f"{row['seconds']:.0f}",
    )


def _has_f1(made: list[dict[str, Any]]) -> bool:
    return any(row.get("macro_f1") is not None for row in made)


def _sizes_vary(made: list[dict[str, Any]]) -> bool:
    return len({row["backbone_parameters"] for row in made} - {0}) > 1  # a classical baseline has none


def show(made: list[dict[str, Any]], title: str, measure: str = "test accuracy") -> None:
    """Print the table."""
    show_cells(title, headings(made, measure), [cells(row, made) for row in made])


def show_cells(title: str, heads: tuple[str, ...], lines: list[tuple[str, ...]]) -> None:
    """Print any table; its first column is text, the others are numbers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for number, heading in enumerate(heads):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    Console(width=None if Console().is_terminal else 160).print(table)


def show_layers(result: dict[str, Any]) -> None:
    """Print the result of a probe, one line per layer."""
    found = {(row["layer"], row["weights"]): row for row in result["layers"]}
    lines = []
    for number in sorted({layer for layer, _ in found}):
        random, trained = found[number, "random"], found[number, "pretrained"]
        numbers = [f"{100 * row[kind]:.1f} %" for kind in ("linear", "knn") for row in (random, trained)]
        lines.append((random["name"], f"{random['features']:,}", *numbers))
    show_cells(
        f"{result['dataset']}, {result['labels']:,} labels, {result['backbone']}",
        ("layer", "features", "linear, random", "linear, pre-trained", "kNN, random", "kNN, pre-trained"),
        lines,
    )


def corruption_rows(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy on corrupted inputs over seeds: one row per arm and number of labels, in order of appearance.

    Each run: arm, labels, collapsed, seed, clean (an accuracy), corruptions (by name, one accuracy per strength), macro_f1 (both
    of these again) and, where they are known, languages. Each row: arm, labels, collapsed, seeds, clean, corruptions, macro_f1,
    languages. `clean` has mean and spread; each corruption has those of the mean over strengths, what is `lost` relative to
    clean, and mean and spread `at` each strength.
    """
    groups: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        groups[run["arm"], run["labels"], run["collapsed"]].append(run)
    return [
        {
            "arm": arm + (COLLAPSED if collapsed else ""),
            "labels": labels,
            "collapsed": collapsed,
            "seeds": [run["seed"] for run in group],
            **_summary(group),
            **({"macro_f1": _summary([run["macro_f1"] for run in group])} if "macro_f1" in group[0] else {}),
            **languages.of_seeds(group),
            **_translations(group),
        }
        for (arm, labels, collapsed), group in groups.items()
    ]


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "clean": over_seeds([run["clean"] for run in runs]),
        "corruptions": {name: _over_strengths(runs, name) for name in runs[0]["corruptions"]},
    }


def _translations(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """By pair of languages, the precision of the nearest text over seeds; nothing where it was not measured."""
    found = [run["translations"] for run in runs if "translations" in run]
    if not found:
        return {}
    return {
        "translations": {
            pair: {"inputs": one["inputs"], **over_seeds([each[pair]["precision_at_1"] for each in found])}
            for pair, one in found[0].items()
        }
    }


def _over_strengths(runs: list[dict[str, Any]], name: str) -> dict[str, Any]:
    means = [statistics.mean(run["corruptions"][name]) for run in runs]
    return {
        **over_seeds(means),
        "lost": statistics.mean(run["clean"] for run in runs) - statistics.mean(means),
        "at": [
            over_seeds(list(accuracies)) for accuracies in zip(*(run["corruptions"][name] for run in runs), strict=True)
        ],
    }


def show_corruptions(made: list[dict[str, Any]], title: str) -> None:
    """One line per arm, one column per corruption: the mean over strengths, and below it the change from clean inputs.

    First of accuracy, then of macro-F1.
    """
    names = list(dict.fromkeys(name for row in made for name in row["corruptions"]))
    several = len({row["labels"] for row in made}) > 1
    heads = ("arm", *(("labels",) if several else ()), "seeds", "clean", *names)
    for measure, key in (("test accuracy", None), ("macro-F1", "macro_f1")):
        lines = []
        for row in made:
            numbers = row if key is None else row[key]
            found = [numbers["corruptions"].get(name) for name in names]
            cells = ["" if one is None else f"{percent(one)}\n{-100 * one['lost']:+z.1f}" for one in found]
            labels = (f"{row['labels']:,}",) if several else ()
            lines.append((row["arm"], *labels, str(len(row["seeds"])), percent(numbers["clean"]), *cells))
        show_cells(f"{title}: {measure} in %, and the change from clean inputs", heads, lines)


def show_languages(made: list[dict[str, Any]], title: str) -> None:
    """Print accuracy and macro-F1 in each language, one line per arm; nothing where there are no languages."""
    for heads, lines in languages.tables(made):
        show_cells(f"{title}: test accuracy and, below it, macro-F1 in %, by language", heads, lines)


def show_translations(made: list[dict[str, Any]], title: str) -> None:
    """Print how often the nearest text is the translation, one line per arm; nothing where it was not measured."""
    measured = [row for row in made if "translations" in row]
    if measured:
        pairs = {pair: one["inputs"] for pair, one in measured[0]["translations"].items()}
        heads = ("arm", *(f"{pair}\n{count:,} texts" for pair, count in pairs.items()))
        lines = [(row["arm"], *(percent(row["translations"][pair]) for pair in pairs)) for row in measured]
        show_cells(f"{title}: the nearest text is the translation, in %", heads, lines)


def show_benchmark(made: list[dict[str, Any]], title: str) -> None:
    """Print one line per method, sorted by fine-tuned accuracy."""
    heads = ("method", "seeds", "epochs", "seconds", "kNN", "linear", "linear, second-last layer", "fine-tuned")
    lines = []
    for row in sorted(made, key=lambda row: row["finetuned"]["mean"] if row["finetuned"] else 0):
        numbers = ["" if row[key] is None else f"{row[key]:.0f}" for key in ("epochs", "seconds")]
        measures = [
            "" if row[key] is None else percent(row[key]) for key in ("knn", "linear", "linear_before", "finetuned")
        ]
        lines.append(
            (row["method"] + (COLLAPSED if row["collapsed"] else ""), str(len(row["seeds"])), *numbers, *measures)
        )
    show_cells(f"{title}: test accuracy in %", heads, lines)
