"""The picture of a label curve: accuracy over labels, and how far it is to the rival's curve."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_cli.report import arms
from ssl_cli.report.figure import figure_of, optional, save_figure, wrapped
from ssl_cli.report.intervals import accuracy_interval
from ssl_cli.report.label_curve import Curve, LabelsSaved, monotone
from ssl_cli.report.label_curve_table import rounded

APART = 0.055  # of the axis: labels of ticks that are nearer would touch


@optional
def save_label_curve(
    curves: Sequence[Curve],
    path: Path,
    saved: Sequence[LabelsSaved] = (),
    measure: str = "test accuracy",
    test_inputs: int | None = None,
    colours: Mapping[str, str] | None = None,
) -> None:
    """Dots are means over seeds, bands their 95 % intervals, lines what labels saved are read from; a dashed arrow shows these.

    Where there is one seed, the band is its interval on other test inputs (Wilson), if their number is known.

    Args:
        curves: of all arms; the order of the legend is that of `arms.ordered`.
        path: of the PNG.
        saved: what is shown by arrows.
        measure: what the accuracies are.
        test_inputs: how many there are.
        colours: of the arms, where other pictures have more arms than this one.
    """
    figure, axes = figure_of(1, 1, width=7.5, height=4.6)
    axis = axes[0][0]
    by_arm = {curve.arm: curve for curve in curves}
    given = colours or arms.colours(by_arm)
    colours = {arm: given[arm] for arm in arms.ordered(by_arm)}
    for arm, colour in colours.items():
        _draw_curve(axis, by_arm[arm], colour, test_inputs)
    budgets = sorted({labels for curve in curves for labels in curve.budgets})
    margin = 1.08 if len(budgets) == 1 else (budgets[-1] / budgets[0]) ** 0.03
    axis.set_xscale("log")
    axis.set_xlim(budgets[0] / margin, budgets[-1] * margin)
    _tick_budgets(axis, budgets)
    for one in saved:
        _draw_saved(axis, one, colours[one.arm])
    axis.set(xlabel="labels", ylabel=f"{measure}, %", ylim=(None, min(101.0, axis.get_ylim()[1])))
    axis.grid(color="#e3e6ea")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    handles, names = axis.get_legend_handles_labels()
    figure.legend(
        handles, [wrapped(name) for name in names], loc="outside lower center", ncols=2, fontsize=8, frameon=False
    )
    save_figure(figure, path)


def _draw_curve(axis: Any, curve: Curve, colour: str, test_inputs: int | None) -> None:
    found = [list(curve.accuracies[labels].values()) for labels in curve.budgets]
    axis.plot(curve.budgets, [100 * np.mean(one) for one in found], "o", color=colour, ms=5, zorder=3)
    complete = sorted(curve.complete_seeds())
    means = monotone(curve.of_seeds(complete)).mean(0) if complete else np.array([np.mean(one) for one in found])
    axis.plot(curve.budgets, 100 * means, color=colour, lw=1.6, marker="o", ms=0, label=curve.arm)
    known = {
        labels: ends
        for labels, one in zip(curve.budgets, found, strict=True)
        if (ends := accuracy_interval(one, test_inputs))
    }
    low, high = ([100 * ends[side] for ends in known.values()] for side in (0, 1))
    if len(known) > 1:
        axis.fill_between(list(known), low, high, color=colour, alpha=0.15, lw=0)
    elif known:  # a band of no width
        axis.plot(list(known) * 2, [*low, *high], color=colour, lw=1.2, alpha=0.7, marker="_", ms=6)


def _tick_budgets(axis: Any, budgets: list[int]) -> None:
    """A tick at each, with its number where there is room."""
    width = math.log(budgets[-1] / budgets[0]) or 1.0
    names, last = [], -math.inf
    for labels in budgets:
        fits = math.log(labels) - last >= APART * width
        names.append(f"{labels:,}" if fits else "")
        last = math.log(labels) if fits else last
    axis.set_xticks(budgets, names)
    axis.minorticks_off()


def _draw_saved(axis: Any, saved: LabelsSaved, colour: str) -> None:
    """From the arm's point to the rival's curve; to the edge where it is beyond, and not at all from the edge."""
    more, infinite = saved.estimate > 0, math.isinf(saved.estimate)
    end = saved.tried[more] if infinite else saved.labels + saved.estimate
    if (end > saved.labels) != more or end == saved.labels:
        return
    height = 100 * saved.accuracy
    axis.annotate(
        "",
        xy=(end, height),
        xytext=(saved.labels, height),
        arrowprops={"arrowstyle": "->", "linestyle": "--", "color": colour, "lw": 1.4, "shrinkA": 4, "shrinkB": 0},
    )
    number = f"{end - saved.labels if infinite else rounded(saved.estimate):+,}".replace("-", "−")
    axis.annotate(
        f"{'more than ' if infinite and more else 'less than ' if infinite else ''}{number} labels",
        (saved.labels, height),
        xytext=(7, -4) if more else (-7, 4),  # where neither curve is near
        textcoords="offset points",
        ha="left" if more else "right",
        va="top" if more else "bottom",
        fontsize=8,
        color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.8},
    )
