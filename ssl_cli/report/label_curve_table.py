"""A label curve in a table and in sentences: accuracies, differences and labels saved, each with how sure it is."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ssl_cli.report import arms
from ssl_cli.report.intervals import (
    Difference,
    Interval,
    accuracy_interval,
    fewest_seeds,
    holm,
    paired_difference,
    smallest_p,
)
from ssl_cli.report.label_curve import Curve, LabelsSaved, common_seeds, labels_saved

HEADINGS = ("arm", "labels", "seeds", "test accuracy, %", "difference, points", "p", "p, Holm", "labels saved")
ONE_SEED = "This is one seed, which says nothing about other labels."


@dataclass(frozen=True)
class Row:
    """An arm with one number of labels.

    seeds: of its accuracy.
    mean: over seeds, a share.
    interval: 95 %, over seeds; of one seed over test inputs, and None where their number is not known.
    difference: from the first rival; None for this rival itself, or without a seed in common.
    p_holm: of the difference, corrected for all differences of the table.
    saved: None for rivals, and where no seed is complete in this arm and all rivals.
    """

    arm: str
    labels: int
    seeds: tuple[int, ...]
    mean: float
    interval: Interval | None
    difference: Difference | None
    p_holm: float | None
    saved: LabelsSaved | None


def curves_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """By arm, the curve of rows that have `arm`, `labels`, `seeds` and `accuracies`, as `table.rows` makes them."""
    found: dict[str, dict[int, dict[int, float]]] = {}
    for row in rows:
        by_seed = dict(zip(row["seeds"], row["accuracies"], strict=True))
        found.setdefault(row["arm"], {}).setdefault(row["labels"], {}).update(by_seed)
    return {arm: Curve(arm, accuracies) for arm, accuracies in found.items()}


def compare_arms(
    curves: Sequence[Curve], rivals: Sequence[Curve], test_inputs: int | None = None, in_labels: bool = True
) -> list[Row]:
    """Every arm with every number of labels, by number of labels and then in the order of arms.

    Args:
        curves: of the arms that are compared with the rivals.
        rivals: as in `labels_saved`; differences are from the first.
        test_inputs: how many there are, for the interval of a single seed.
        in_labels: whether to say what arms are worth in labels, which takes several numbers of them.

    Raises:
        ValueError: there is no rival, or an arm is there twice.
    """
    everyone = {curve.arm: curve for curve in (*rivals, *curves)}
    if not rivals or len(everyone) < len(rivals) + len(curves):
        raise ValueError("arms of a label curve: must have different names, and one of them must be a rival")
    made = []
    for labels in sorted({labels for curve in everyone.values() for labels in curve.budgets}):
        for arm in arms.ordered(everyone):
            if labels in everyone[arm].accuracies:
                row = _row(everyone[arm], labels, rivals, test_inputs)
                made.append(row if in_labels else replace(row, saved=None))
    tested = [number for number, row in enumerate(made) if row.difference and row.difference.p is not None]
    corrected = holm([made[number].difference.p for number in tested])  # pyright: ignore[reportOptionalMemberAccess]
    for number, p_value in zip(tested, corrected, strict=True):
        made[number] = replace(made[number], p_holm=p_value)
    return made


def _row(curve: Curve, labels: int, rivals: Sequence[Curve], test_inputs: int | None) -> Row:
    by_seed = curve.accuracies[labels]
    mean = float(np.mean(list(by_seed.values())))
    interval = accuracy_interval(list(by_seed.values()), test_inputs)
    difference = saved = None
    if curve is not rivals[0]:
        difference = paired_difference(by_seed, rivals[0].accuracies.get(labels, {}))
    if all(curve is not rival for rival in rivals) and common_seeds([curve, *rivals]):
        saved = labels_saved(curve, rivals, labels)
    return Row(curve.arm, labels, tuple(sorted(by_seed)), mean, interval, difference, None, saved)


def cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The rows as text, under `HEADINGS`."""
    return [
        (
            row.arm,
            f"{row.labels:,}",
            str(len(row.seeds)),
            _with_interval(f"{100 * row.mean:.1f}", row.interval, "{:.1f}"),
            "" if row.difference is None else _with_interval(points(row.difference.mean), row.difference.interval),
            "" if row.difference is None or row.difference.p is None else f"{row.difference.p:.3g}",
            "" if row.p_holm is None else f"{row.p_holm:.3g}",
            "" if row.saved is None else _saved_cell(row.saved),
        )
        for row in rows
    ]


def points(share: float) -> str:
    """A difference of two accuracies, with its sign."""
    return f"{100 * share:+z.1f}".replace("-", "−")


def _with_interval(number: str, interval: Interval | None, form: str = "{:+z.1f}") -> str:
    if interval is None:
        return number
    low, high = (form.format(100 * end).replace("-", "−") for end in interval)
    return f"{number} ({low} to {high})"


def _saved_cell(saved: LabelsSaved) -> str:
    def signed(number: float) -> str:
        if math.isfinite(number):
            return f"{rounded(number):+,}".replace("-", "−").replace("+0", "0")
        edge = saved.tried[number > 0] - saved.labels
        return ("> " if number > 0 else "< ") + f"{edge:+,}".replace("-", "−").replace("+0", "0")

    if saved.interval is None:
        return signed(saved.estimate)
    low, high = map(signed, saved.interval)
    return f"{signed(saved.estimate)} ({low if low == high else f'{low} to {high}'})"


def rounded(labels: float) -> int:
    """To two digits, since no more are known."""
    return int(float(f"{labels:.2g}"))


def saved_sentence(saved: LabelsSaved) -> str:
    """“With 200 labels, “pre-trained” is worth 130 more (95 % interval 90–210).”"""
    said = f"With {saved.labels:,} labels, “{saved.arm}” "
    if math.isfinite(saved.estimate) and rounded(saved.estimate) == 0:
        said += f"is worth as many labels of “{saved.rival}”"
    elif saved.estimate > 0:
        said += f"is worth {_amount(saved, saved.estimate)} more"
    else:
        said += f"costs {_amount(saved, saved.estimate)}"
    if saved.interval is not None:
        said += f" (95 % interval{_interval_words(saved)})"
    if saved.estimate == math.inf:
        said += f": “{saved.rival}” does not reach its accuracy with {saved.tried[1]:,}, the most that were tried"
    elif saved.estimate == -math.inf:
        said += f": “{saved.rival}” is better with {saved.tried[0]:,}, the fewest that were tried"
    return f"{said}." if saved.interval else f"{said}. {ONE_SEED}"


def _amount(saved: LabelsSaved, number: float) -> str:
    """How many labels, without the sign; of an infinite number, how many at least."""
    if math.isfinite(number):
        return f"{abs(rounded(number)):,}"
    edge = saved.tried[number > 0] - saved.labels
    return f"more than {abs(edge):,}" if edge * number > 0 else "an unknown number"


def _interval_words(saved: LabelsSaved) -> str:
    low, high = saved.interval or Interval(math.nan, math.nan)
    amounts = [_amount(saved, end) for end in (low, high)]
    signs = [0 if math.isfinite(end) and rounded(end) == 0 else math.copysign(1, end) for end in (low, high)]
    if math.isfinite(low) and math.isfinite(high) and abs(sum(signs)) >= 1:
        return f" {amounts[0]}–{amounts[1]}" if sum(signs) > 0 else f" {amounts[1]}–{amounts[0]}"
    words = [
        "0" if sign == 0 else f"{'saving' if sign > 0 else 'costing'} {amount}"
        for sign, amount in zip(signs, amounts, strict=True)
    ]
    return f": {words[0]}" if low == high else f": from {words[0]} to {words[1]}"


def _too_few(seeds: int) -> str:
    return (
        f"With {seeds} seeds no difference can be sure: even if all of them agree, p is {smallest_p(seeds):.2g}; "
        f"it takes {fewest_seeds()} to get below 0.05, and the intervals rely on noise being normal."
    )


def notes(rows: Sequence[Row], rivals: Sequence[Curve]) -> list[str]:
    """Sentences that a reader of the table needs, the most important first."""
    said = [f"Differences are from “{rivals[0].arm}”, over the seeds of both; intervals are 95 %, each by itself."]
    if len(rivals) > 1 and any(row.saved for row in rows):
        names = ", ".join(f"“{rival.arm}”" for rival in rivals)
        said.append(f"Labels saved are against whichever of {names} needs the fewest.")
    counts = [len(row.difference.seeds) for row in rows if row.difference]
    tested = sum(row.p_holm is not None for row in rows)
    alone = [row for row in rows if len(row.seeds) == 1]
    if alone:
        own = ": its interval is that of new test inputs alone" if any(row.interval for row in alone) else ""
        said.append(f"One seed says nothing about other labels{own}.")
    few = [count for count in counts if 1 < count < fewest_seeds()]
    if few:
        said.append(_too_few(max(few)))
    elif tested > 1 and max(counts) < fewest_seeds(tested):
        said.append(
            f"With {tested} differences at once, “p, Holm” gets below 0.05 with {fewest_seeds(tested)} seeds or more."
        )
    left_out = sorted({seed for row in rows if row.saved for seed in row.saved.left_out})
    if left_out:
        said.append(
            f"Labels saved leave out seeds that lack a number of labels in some arm: {', '.join(map(str, left_out))}."
        )
    return said
