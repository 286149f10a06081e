"""What a section says in three sentences: the answer, how sure it is, and what to do next.

The numbers and their sources are those of `docs/statistics.md`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ssl_cli.data.intervals import wilson_interval
from ssl_cli.report import arms
from ssl_cli.report.intervals import (
    Difference,
    Interval,
    accuracy_interval,
    fewest_seeds,
    paired_difference,
    smallest_p,
)
from ssl_cli.report.label_curve import Curve, LabelsSaved, monotone
from ssl_cli.report.label_curve_table import ONE_SEED, Row, compare_arms, curves_of, points, saved_sentence
from ssl_cli.report.sections import NEIGHBOURS, Section

SURE = 0.05


@dataclass(frozen=True)
class Contest:
    """The arm that a section is about, and what it has to beat.

    best: the row of the arm that has more than labels behind it; of all arms, where no arm has.
    rival: the row of the best arm that has nothing but labels; None where there is none of the two.
    difference: of the two, over the seeds of both; p_holm: corrected for all that the table has, where it is known.
    saved: what the best arm is worth in labels, where there is a label curve.
    others: how many arms the best one was the best of.
    """

    best: dict[str, Any]
    rival: dict[str, Any] | None
    difference: Difference | None
    p_holm: float | None
    saved: LabelsSaved | None
    others: int


def compared(section: Section) -> list[Row]:
    """Every arm beside the first rival; without `saved` where there is no label curve; empty without a rival and others."""
    rivals = rival_curves(section)
    names = {rival.arm for rival in rivals}
    curves = [curve for arm, curve in section_curves(section).items() if arm not in names]
    if not rivals or not curves or section.measure == NEIGHBOURS:
        return []
    return compare_arms(curves, rivals, section.test_inputs, section.has_label_curve)


def section_curves(section: Section) -> dict[str, Curve]:
    """By arm, the accuracies that have labels behind them, without those of pre-trainings that collapsed."""
    return curves_of(row for row in section.sound_rows if row["labels"])


def rival_curves(section: Section) -> list[Curve]:
    """The curves of rivals, the first one first; with a label curve those alone that have several numbers of labels."""
    curves = section_curves(section)
    fewest = 2 if section.has_label_curve else 1
    return [curves[arm] for arm in arms.RIVALS if arm in curves and len(curves[arm].budgets) >= fewest]


def contest_of(section: Section, rows: Sequence[Row]) -> Contest | None:
    """The arm that a section is about; None where every pre-training collapsed.

    With a label curve it is the best with the middle number of labels of those with which labels saved are known. Without one it
    is the best with the most labels that have an arm of either kind.

    Args:
        section: with the runs.
        rows: of `compared`.
    """
    sound = section.sound_rows
    if not sound:
        return None
    worth = {(row.arm, row.labels): row for row in rows if row.saved and not arms.is_without_pretraining(row.arm)}
    curves = {arm for arm, curve in section_curves(section).items() if len(curve.budgets) > 1}
    worth = {key: row for key, row in worth.items() if row.arm in curves} or worth  # one number of labels is no curve
    if worth:
        budgets = sorted({labels for _, labels in worth})
        labels = budgets[(len(budgets) - 1) // 2]
        made = [row for row in sound if (row["arm"], row["labels"]) in worth and row["labels"] == labels]
        best = max(made, key=lambda row: row["mean"])
        row = worth[best["arm"], labels]
        first = next(
            (one for one in sound if one["labels"] == labels and one["arm"] == rival_curves(section)[0].arm), None
        )
        return Contest(best, first, row.difference, row.p_holm, row.saved, len(made))
    alone = [row for row in sound if arms.is_without_pretraining(row["arm"])]
    others = [row for row in sound if not arms.is_without_pretraining(row["arm"])]
    both = {row["labels"] for row in alone} & {row["labels"] for row in others}
    if section.measure == NEIGHBOURS or not both:
        best = max(others or sound, key=lambda row: (row["labels"], row["mean"]))
        return Contest(best, None, None, None, None, sum(row["labels"] == best["labels"] for row in others or sound))
    made = [row for row in others if row["labels"] == max(both)]
    best = max(made, key=lambda row: row["mean"])
    rival = max((row for row in alone if row["labels"] == max(both)), key=lambda row: row["mean"])
    return Contest(best, rival, paired_difference(_by_seed(best), _by_seed(rival)), None, None, len(made))


def answer(section: Section, contest: Contest) -> str:
    """What was found."""
    best, rival, difference = contest.best, contest.rival, contest.difference
    if contest.saved is not None:
        return saved_sentence(contest.saved).removesuffix(ONE_SEED).strip()
    reached = f"With {best['labels']:,} labels, “{best['arm']}” reaches {_percent(best['mean'])} {section.measure}"
    if section.measure == NEIGHBOURS:
        return f"“{best['arm']}” reaches {_percent(best['mean'])} {section.measure}; nothing was trained on labels yet."
    if rival is None:
        missing = "with labels only" if not arms.is_without_pretraining(best["arm"]) else "with pre-training"
        return f"{reached}; no arm {missing} is here to compare it with."
    theirs = f"the best arm with labels only, “{rival['arm']}” ({_percent(rival['mean'])})"
    if difference is None:
        return f"{reached}, and {theirs} was run with other seeds, so that the two cannot be compared in pairs."
    apart = abs(100 * difference.mean)
    if f"{apart:.1f}" == "0.0":
        return f"{reached}, the same as {theirs}."
    return f"{reached}, {apart:.1f} points {'more' if difference.mean > 0 else 'less'} than {theirs}."


def how_sure(section: Section, contest: Contest) -> str:
    """What the answer is worth: seeds, interval, p."""
    best, rival, difference = contest.best, contest.rival, contest.difference
    seeds = len(difference.seeds) if difference else len(best["seeds"])
    if seeds == 1:
        said = f"one seed, which says nothing about other labels; {fewest_seeds()} can show a difference"
        if section.test_inputs is None:
            return f"{said}."
        seed = difference.seeds[0] if difference else best["seeds"][0]
        ranges = " and ".join(
            f"“{row['arm']}” is at {shown_range(Interval(*wilson_interval(_by_seed(row)[seed], section.test_inputs)))}"
            for row in (best, rival)
            if row is not None and seed in row["seeds"]
        )
        return f"{said}. On other test inputs alone, {ranges} (95 %, Wilson)."
    if difference is None:
        one = accuracy_interval(best["accuracies"], section.test_inputs)
        return f"{seeds} seeds" + (f", 95 % interval {shown_range(one)}." if one else ".")
    low, high = difference.interval or Interval(math.nan, math.nan)
    against = f" from “{rival['arm']}”" if contest.saved and rival else ""
    mean = f"the difference{against} is {points(difference.mean)} points"
    said = f"{seeds} seeds; {mean} (95 % interval {points(low)} to {points(high)})"
    if seeds < fewest_seeds():
        least = f"p cannot be below {smallest_p(seeds):.2g}, however large it is"
        return f"{said}. Fewer than {fewest_seeds()} seeds cannot show a difference: {least}."
    return f"{said}, p = {difference.p:.2g}: {_conclusion(contest)}."


def _conclusion(contest: Contest) -> str:
    """Whether there is a difference, by itself and beside all others of the table."""
    p_value = None if contest.difference is None else contest.difference.p
    if p_value is None or p_value >= SURE:
        return "no difference is shown"
    picked = "; the best of several arms looks better than it is" if contest.others > 1 else ""
    if contest.p_holm is not None and contest.p_holm >= SURE:
        every = f"p = {contest.p_holm:.2g} for all of the table"
        return f"a difference is shown, if it is the one that was asked about ({every}){picked}"
    return f"a difference is shown{picked}"


def doubling(section: Section, arm: str) -> tuple[float, int, int] | None:
    """What another doubling of labels buys an arm at most, if its curve does not get steeper and ends at 100 %.

    A share, and the two numbers of labels that it is told by; None where there are no two.
    """
    curve = section_curves(section).get(arm)
    if curve is None or len(curve.budgets) < 2:
        return None
    before, last = curve.budgets[-2:]
    seeds = sorted(curve.complete_seeds())
    if not seeds:
        return None
    means = monotone(curve.of_seeds(seeds)).mean(0)
    return min(float(means[-1] - means[-2]) / math.log2(last / before), 1 - float(means[-1])), before, last


def slope_sentence(section: Section, contest: Contest) -> str:
    """What another doubling of the labels is likely to buy; empty where one number of labels was tried."""
    found = doubling(section, contest.best["arm"])
    if found is None:
        return ""
    bought, before, last = found
    doubled = f"Another doubling of labels, from {last:,} to {2 * last:,}"
    said = f"{doubled}, buys “{contest.best['arm']}” at most about {points(bought)} points, going by {before:,} to {last:,}"
    theirs = None if contest.rival is None else doubling(section, contest.rival["arm"])
    return f"{said} (“{contest.rival['arm']}”: {points(theirs[0])})." if theirs and contest.rival else f"{said}."


def _by_seed(row: dict[str, Any]) -> dict[int, float]:
    return dict(zip(row["seeds"], row["accuracies"], strict=True))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def shown_range(interval: Interval) -> str:
    """Both ends of an accuracy's interval."""
    return f"{100 * interval.low:.1f}–{100 * interval.high:.1f} %"
