"""Labels saved: how many more labels the best arm without pre-training needs for the same accuracy.

The method, its source, and how often its intervals hold are on the page `docs/statistics.md`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import isotonic_regression

from ssl_cli.report.intervals import Interval, t_quantile


@dataclass(frozen=True)
class Curve:
    """Test accuracies of an arm, by number of labels and by seed, shares from 0 to 1.

    Raises:
        ValueError: there are none, or a number is not one that can be.
    """

    arm: str
    accuracies: Mapping[int, Mapping[int, float]]

    def __post_init__(self):
        if not self.accuracies or not all(self.accuracies.values()):
            raise ValueError(f"arm “{self.arm}”: must have an accuracy at each of its numbers of labels, at least one")
        for labels, by_seed in self.accuracies.items():
            if labels < 1:
                raise ValueError(f"arm “{self.arm}”: {labels} labels; must be at least 1")
            for seed, accuracy in by_seed.items():
                if not 0 <= accuracy <= 1:  # nor is what is no number
                    raise ValueError(
                        f"arm “{self.arm}”, {labels} labels, seed {seed}: accuracy {accuracy}; must be from 0 to 1"
                    )

    @property
    def budgets(self) -> tuple[int, ...]:
        """The numbers of labels, in order."""
        return tuple(sorted(self.accuracies))

    def complete_seeds(self) -> set[int]:
        """Seeds that are there at every number of labels."""
        return set.intersection(*(set(by_seed) for by_seed in self.accuracies.values()))

    def of_seeds(self, seeds: Sequence[int]) -> np.ndarray:
        """The accuracies of complete seeds: float (seeds, budgets)."""
        return np.array([[self.accuracies[labels][seed] for labels in self.budgets] for seed in seeds], dtype=float)


@dataclass(frozen=True)
class LabelsSaved:
    """What an arm's accuracy with `labels` labels is worth in labels of its rivals.

    estimate: how many more labels the best rival needs; below 0 where it needs fewer. Infinite where no rival gets there with the
        labels that were tried, minus infinite where the fewest that were tried are too many.
    interval: 95 %, whose ends may be infinite in the same sense; None for one seed.
    rival: the arm that needs the fewest, the first of those given where none can be told from the others.
    accuracy: of the arm, a share, made monotone.
    seeds: those that are compared.
    left_out: those that lack a number of labels in one of the arms.
    tried: the fewest and most labels that were tried with every rival.
    """

    arm: str
    labels: int
    estimate: float
    interval: Interval | None
    rival: str
    accuracy: float
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]
    tried: tuple[int, int]


def common_seeds(curves: Sequence[Curve]) -> tuple[int, ...]:
    """Seeds that all curves have at every number of labels."""
    return tuple(sorted(set.intersection(*(curve.complete_seeds() for curve in curves))))


def monotone(accuracies: np.ndarray) -> np.ndarray:
    """Accuracies whose mean over seeds does not fall with more labels: float (seeds, budgets) → the same shape.

    Numbers of labels between which the mean falls share their mean accuracy, in every seed (isotonic regression of the means;
    Barlow et al., 1972).
    """
    pooled = accuracies.copy()
    starts = isotonic_regression(accuracies.mean(0)).blocks
    for first, last in pairwise(starts):
        pooled[:, first:last] = accuracies[:, first:last].mean(1, keepdims=True)
    return pooled


def labels_saved(curve: Curve, rivals: Sequence[Curve], labels: int) -> LabelsSaved:
    """How many more labels the best rival needs for the accuracy that an arm has with `labels` labels.

    Args:
        curve: of the arm.
        rivals: arms without pre-training that had the same augmentation, tuning and time. The first has to be chosen
            without looking at these accuracies. The estimate and the low end are the least over all rivals, which favours them;
            the high end is the first one's.
        labels: one of the arm's numbers of labels.

    Raises:
        ValueError: the arm has no accuracy with `labels` labels, or no seed is complete in all curves.
    """
    if labels not in curve.accuracies:
        raise ValueError(f"arm “{curve.arm}”: has no accuracy with {labels} labels; must be one of {curve.budgets}")
    if not rivals:
        raise ValueError(f"arm “{curve.arm}”: must have at least one rival")
    seeds = common_seeds([curve, *rivals])
    if not seeds:
        names = ", ".join(f"“{one.arm}”" for one in (curve, *rivals))
        raise ValueError(f"arms {names}: no seed has every number of labels in each of them; at least one must")
    own = monotone(curve.of_seeds(seeds))[:, curve.budgets.index(labels)]
    needed = [_needed(own, monotone(rival.of_seeds(seeds)), rival.budgets, labels) for rival in rivals]
    best = min(range(len(rivals)), key=lambda number: needed[number][0])
    interval = None
    if len(seeds) > 1:
        interval = Interval(min(low for _, low, _ in needed), needed[0][2])
    everyone = {seed for one in (curve, *rivals) for by_seed in one.accuracies.values() for seed in by_seed}
    return LabelsSaved(
        arm=curve.arm,
        labels=labels,
        estimate=needed[best][0],
        interval=interval,
        rival=rivals[best].arm,
        accuracy=float(own.mean()),
        seeds=seeds,
        left_out=tuple(sorted(everyone - set(seeds))),
        tried=(max(rival.budgets[0] for rival in rivals), min(rival.budgets[-1] for rival in rivals)),
    )


def _needed(own: np.ndarray, rival: np.ndarray, budgets: tuple[int, ...], labels: int) -> tuple[float, float, float]:
    """How many more labels a rival needs, and both ends of the interval.

    Args:
        own: accuracy of the arm, by seed: float (S,).
        rival: monotone, float (S, budgets).
        budgets: of the rival.
        labels: of the arm.
    """
    logs = np.log(budgets) - math.log(labels)
    crossing = _crossing(own.mean(), np.maximum.accumulate(rival.mean(0)), logs)
    # The crossing itself belongs to them, whatever was rounded; and with it a rival that is too good or too bad everywhere.
    places = [crossing, *(_places_not_rejected(own, rival, logs) if len(own) > 1 else ())]
    estimate, low, high = (
        labels * math.expm1(one) if math.isfinite(one) else one for one in (crossing, min(places), max(places))
    )
    return estimate, low, high


def _crossing(accuracy: float, means: np.ndarray, logs: np.ndarray) -> float:
    """Where a line through points that do not fall has this height; of a flat part, the place nearest to 0."""
    if accuracy > means[-1]:
        return math.inf
    if accuracy < means[0]:
        return -math.inf
    ends = []
    for side in ("left", "right"):  # of the points that are as high
        after = int(np.searchsorted(means, accuracy, side))
        point = after if side == "left" else after - 1
        if means[point] == accuracy:
            ends.append(logs[point])
        else:
            share = (accuracy - means[after - 1]) / (means[after] - means[after - 1])
            ends.append(logs[after - 1] + share * (logs[after] - logs[after - 1]))
    return float(np.clip(0.0, *ends))


def _places_not_rejected(own: np.ndarray, rival: np.ndarray, logs: np.ndarray) -> list[float]:
    """Where a paired t-test does not tell the rival's accuracy from the arm's (Fieller, 1954): the ends of these places.

    Between two budgets the rival's accuracy is a line in each seed, so that mean² − t² · variance of the differences is a
    parabola: what is not rejected lies where it is not above 0. Where an outermost budget is not rejected, nothing beyond it is.
    """
    critical = t_quantile(len(own)) ** 2 / len(own)
    gaps = own[:, None] - rival  # (S, budgets), of the arm above the rival
    means, variances = gaps.mean(0), gaps.var(0, ddof=1)
    is_open = means**2 <= critical * variances
    places = logs[is_open].tolist()
    places += [-math.inf] if is_open[0] else []
    places += [math.inf] if is_open[-1] else []
    for left in range(len(logs) - 1):
        slope = gaps[:, left + 1] - gaps[:, left]
        parabola = [
            slope.mean() ** 2 - critical * slope.var(ddof=1),
            2 * (slope.mean() * means[left] - critical * np.cov(slope, gaps[:, left])[0, 1]),
            means[left] ** 2 - critical * variances[left],
        ]
        roots = np.roots(parabola)
        inside = roots.real[(abs(roots.imag) < 1e-12) & (roots.real >= 0) & (roots.real <= 1)]
        places += (logs[left] + inside * (logs[left + 1] - logs[left])).tolist()
    return places
