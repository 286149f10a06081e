"""The charts of a run. Each function writes one PNG."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_cli.data.intervals import wilson_interval
from ssl_cli.report import arms
from ssl_cli.report.figure import figure_of, optional, save_figure, wrapped, written

if TYPE_CHECKING:
    from torch import Tensor  # charts of runs are made without PyTorch

NAMED = 40  # classes whose names there is room for
BLUE, ORANGE, GREEN, GREY = "#2c6fbb", "#d9822b", "#3a8f5c", "#8a8f98"


@optional
def save_confusion(
    counts: "Tensor", classes: tuple[str, ...], path: Path, down: str, across: str, measure: str
) -> None:
    """Confusion matrix: `down` and `across` label the axes, rows are normalised; `measure` names the overall accuracy."""
    fractions = (counts / counts.sum(1, keepdim=True).clamp(min=1)).numpy()
    names = [written(name) for name in classes]
    longest = max(map(len, names)) if len(names) <= NAMED else 0
    side = min(10.0, 1.6 + 0.38 * len(classes)) + 0.06 * max(0, longest - 6)
    figure, axes = figure_of(1, 1, width=side, height=side)
    axis = axes[0][0]
    axis.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    right = counts.diagonal().sum() / counts.sum()
    axis.set(xlabel=across, ylabel=down, title=f"{measure} {right:.1%}")
    if len(classes) <= NAMED:
        size = 8 if len(classes) <= 20 else 6
        axis.set_xticks(range(len(classes)), names, rotation=90 if longest > 2 else 0, fontsize=size)
        axis.set_yticks(range(len(classes)), names, fontsize=size)
        for row, values in enumerate(counts.tolist()):
            for column, value in enumerate(values):
                if value:
                    dark = fractions[row, column] > 0.5
                    axis.text(
                        column,
                        row,
                        value,
                        ha="center",
                        va="center",
                        fontsize=size - 1,
                        color="white" if dark else "black",
                    )
    save_figure(figure, path)


@optional
def save_arms(
    rows: list[dict[str, Any]], path: Path, measure: str = "test accuracy", test_inputs: int | None = None
) -> None:
    """One dot per arm, a hollow one where it collapsed, with error bars of one standard deviation, and a small dot per seed.

    The bar of a single seed is its 95 % interval on other test inputs (Wilson), where `test_inputs` says how many there were.
    """
    rows = arms.in_order(rows)
    names = [wrapped(_row_label(row, rows)) for row in rows]
    lines = sum(name.count("\n") for name in names)
    figure, axes = figure_of(1, 1, width=7.5, height=0.9 + 0.42 * len(rows) + 0.1 * lines)
    axis = axes[0][0]
    colours = arms.colours(row["arm"].removesuffix(arms.COLLAPSED) for row in rows)
    ends = []
    for position, row in enumerate(reversed(rows)):
        colour = colours[row["arm"].removesuffix(arms.COLLAPSED)]
        mean, bar = 100 * row["mean"], _bar(row, test_inputs)
        ends += [mean - bar[0], mean + bar[1]]
        inside = "white" if row["collapsed"] else colour
        axis.errorbar(
            mean, position, xerr=[[bar[0]], [bar[1]]] if any(bar) else None, fmt="o", ms=7, color=colour, mfc=inside,
            capsize=3, clip_on=False,
        )  # fmt: skip
        if len(row["accuracies"]) > 1:
            values = [100 * value for value in row["accuracies"]]
            axis.plot(values, [position] * len(values), ".", color="black", ms=3, clip_on=False)
        shown = f"{mean:.1f} %" + (f" ± {100 * row['spread']:.1f}" if row["spread"] is not None else "")
        axis.text(1.03, position, shown, va="center", fontsize=9, transform=axis.get_yaxis_transform())
    lowest = min(*ends, *(100 * value for row in rows for value in row["accuracies"]))
    axis.set_yticks(range(len(rows)), names[::-1], fontsize=9)
    axis.set(xlim=(max(0, 5 * math.floor((lowest - 1) / 5)), 100), ylim=(-0.6, len(rows) - 0.4), xlabel=f"{measure}, %")
    axis.grid(axis="x", color="#e3e6ea")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def _bar(row: dict[str, Any], test_inputs: int | None) -> tuple[float, float]:
    """How far the bar of a row goes down and up, in points, within 0 to 100 %."""
    mean = 100 * row["mean"]
    if row["spread"] is not None:
        return min(100 * row["spread"], mean), min(100 * row["spread"], 100 - mean)
    if test_inputs is None:
        return 0.0, 0.0
    low, high = wilson_interval(row["mean"], test_inputs)
    return max(0.0, mean - 100 * low), max(0.0, 100 * high - mean)


@optional
def save_layers(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy of both probes by layer, for random and for pre-trained weights."""
    figure, axes = figure_of(1, 1, width=7.5, height=4.2)
    axis = axes[0][0]
    for weights, word in (("pretrained", "pre-trained"), ("random", "random weights")):
        colour = arms.KNOWN[word]
        own = [row for row in rows if row["weights"] == weights]
        for kind, style, name in (("linear", "o-", "linear"), ("knn", "s--", "kNN")):
            heights = [100 * row[kind] for row in own]
            axis.plot(
                [row["layer"] for row in own], heights, style, color=colour, ms=4, lw=1.4, label=f"{name}, {word}"
            )
    names = dict(sorted({row["layer"]: row["name"] for row in rows}.items()))
    axis.set_xticks(list(names), list(names.values()), fontsize=8)
    axis.set(ylabel="test accuracy, %")
    axis.grid(axis="y", color="#e3e6ea")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False)
    save_figure(figure, path)


@optional
def save_benchmark(rows: list[dict[str, Any]], path: Path) -> None:
    """One line per method with a dot per measure and error bars of one standard deviation, sorted by fine-tuned accuracy."""
    kinds = {"knn": ("kNN", GREY, "s"), "linear": ("linear", ORANGE, "^"), "finetuned": ("fine-tuned", BLUE, "o")}
    ordered = sorted(rows, key=lambda row: row["finetuned"]["mean"] if row["finetuned"] else 0)
    figure, axes = figure_of(1, 1, width=8, height=1.2 + 0.34 * len(rows))
    axis = axes[0][0]
    for key, (name, colour, marker) in kinds.items():
        there = [(position, row[key]) for position, row in enumerate(ordered) if row[key]]
        axis.errorbar(
            [100 * number["mean"] for _, number in there],
            [position for position, _ in there],
            xerr=[100 * (number["spread"] or 0) for _, number in there],
            fmt=marker, color=colour, ms=6, capsize=2, lw=1, label=name,
        )  # fmt: skip
    axis.set_yticks(range(len(ordered)), [row["method"] for row in ordered], fontsize=9)
    axis.set(xlabel="test accuracy, %")
    axis.grid(color="#e3e6ea")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(kinds))
    save_figure(figure, path)


@optional
def save_lines(rows: list[dict[str, Any]], name: str, path: Path, measure: str) -> None:
    """Accuracy over a swept setting (`x` of each row), one `line` per other setting, with a band of one standard deviation.

    A thin line is a seed, which has the same labels at every point: differences between settings can be smaller than
    those between seeds and still have the same sign for each seed.
    """
    figure, axes = figure_of(1, 1, width=7.5, height=4.2)
    axis = axes[0][0]
    for line, colour in arms.colours(row["line"] for row in rows).items():
        points = sorted((row for row in rows if row["line"] == line), key=lambda row: row["x"])
        across, means = [row["x"] for row in points], [100 * row["mean"] for row in points]
        spreads = [100 * (row["spread"] or 0) for row in points]
        axis.plot(across, means, "o-", ms=4, lw=1.6, color=colour, label=wrapped(line))
        low, high = ([m + sign * s for m, s in zip(means, spreads, strict=True)] for sign in (-1, 1))
        axis.fill_between(across, low, high, color=colour, alpha=0.15, lw=0)
        for seed in sorted({seed for row in points for seed in row["seeds"]} if points[0]["spread"] else ()):
            own = [
                (row["x"], 100 * dict(zip(row["seeds"], row["accuracies"], strict=True))[seed])
                for row in points
                if seed in row["seeds"]
            ]
            axis.plot(*zip(*own, strict=True), color=colour, alpha=0.45, lw=0.7)
    ticks = sorted({row["x"] for row in rows})
    if min(ticks) > 0 and max(ticks) >= 4 * min(ticks):
        axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.set(xlabel=name, ylabel=f"{measure}, %")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    save_figure(figure, path)


@optional
def save_corruptions(rows: list[dict[str, Any]], strengths: dict[str, list[float]], path: Path) -> None:
    """Accuracy, and macro-F1 below it, over strength: panels of corruptions, a line per arm, a band of one standard deviation."""
    rows = arms.in_order(rows)
    colours = arms.colours(_row_label(row, rows) for row in rows)
    measures = {"test accuracy, %": rows, "macro-F1, %": [row["macro_f1"] for row in rows]}
    figure, axes = figure_of(len(strengths), 2, width=max(5.0, 3.0 * len(strengths)), height=5.8 + 0.06 * len(rows))
    for line, (measure, numbers) in zip(axes, measures.items(), strict=True):
        for axis, (name, values) in zip(line, strengths.items(), strict=True):
            for row, of in zip(rows, numbers, strict=True):
                points = [of["clean"], *of["corruptions"][name]["at"]]
                means = [100 * point["mean"] for point in points]
                spreads = [100 * (point["spread"] or 0) for point in points]
                label = _row_label(row, rows)
                axis.plot([0, *values], means, ".-", ms=5, lw=1.4, color=colours[label], label=wrapped(label))
                low, high = ([m + sign * s for m, s in zip(means, spreads, strict=True)] for sign in (-1, 1))
                axis.fill_between([0, *values], low, high, color=colours[label], alpha=0.12, lw=0)
            axis.set(title=name.replace("_", " "), xlabel="strength", ylim=(0, 100))
            axis.grid(axis="y", color="#e3e6ea")
            axis.spines[["top", "right"]].set_visible(False)
        line[0].set_ylabel(measure)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    save_figure(figure, path)


@optional
def save_dots(lines: list[str], means: dict[str, list[dict[str, Any]]], measure: str, path: Path) -> None:
    """One line per name, the first at the top, with a dot per arm (its `means` by name) and its standard deviation."""
    figure, axes = figure_of(1, 1, width=7.5, height=1.6 + 0.3 * len(lines))
    axis = axes[0][0]
    for number, (arm, colour) in enumerate(arms.colours(means).items()):
        shift = 0.5 * (number + 0.5) / len(means) - 0.25
        axis.errorbar(
            [100 * one["mean"] for one in means[arm]],
            [position + shift for position in range(len(lines))],
            xerr=[100 * (one["spread"] or 0) for one in means[arm]],
            fmt="o", ms=4, capsize=2, lw=1, color=colour, label=wrapped(arm),
        )  # fmt: skip
    axis.set_yticks(range(len(lines)), list(map(written, lines)), fontsize=9)
    axis.set(xlabel=measure, xlim=(0, 100), ylim=(len(lines) - 0.5, -0.5))
    axis.grid(color="#e3e6ea")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    save_figure(figure, path)


@optional
def save_lengths(lengths: "Tensor", cuts: dict[str, int], path: Path) -> None:
    """Histogram of the lengths of texts in tokens, int64 (N,), and where views cut them (by what does), if any is that long."""
    most = max(int(lengths.max()), 2)
    figure, axes = figure_of(1, 1, width=6.5, height=3.0)
    axis = axes[0][0]
    axis.hist(lengths.numpy(), bins=min(most, 60), range=(0.5, most + 0.5), color=BLUE)
    for (name, cut), colour in zip(cuts.items(), (ORANGE, GREEN), strict=False):
        share = float((lengths > cut).float().mean())
        # A cut beyond the longest text is said and not drawn.
        where = [cut, cut] if cut <= most else []
        axis.plot(where, [0, 1][: len(where)], color=colour, lw=1.4, label=f"{name}={cut}: {share:.1%} longer",
                  transform=axis.get_xaxis_transform())  # fmt: skip
    axis.set(xlabel="tokens of a training text, with the first and the last", ylabel="texts")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", fontsize=8, frameon=False)
    save_figure(figure, path)


def _row_label(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    several = len({other["labels"] for other in rows}) > 1
    return f"{row['arm']}, {row['labels']:,} labels" if several else row["arm"]
