"""How sure a mean over seeds is: 95 % intervals, differences of two arms over the same seeds, many comparisons at once.

What is behind each, and how often it holds, is on the page `docs/statistics.md`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from ssl_cli.data.intervals import wilson_interval

CONFIDENCE = 0.95
EXACT = 16  # seeds up to which all 2^seeds flips of signs are tried
DRAWN = 99_999  # flips beyond that


class Interval(NamedTuple):
    """Both ends of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Accuracy of an arm minus that of its rival, over the seeds that both have.

    seeds: those seeds.
    mean: of the differences, a share: 0.01 is a point.
    interval: of that mean, Student's t; None for one seed.
    p: of the exact sign-flip test, two-sided; None for one seed.
    """

    seeds: tuple[int, ...]
    mean: float
    interval: Interval | None
    p: float | None


def t_quantile(seeds: int) -> float:
    """By how many standard errors a mean over so many seeds may be off, in 95 % of cases (Student, 1908)."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, seeds - 1))


def mean_interval(accuracies: Sequence[float]) -> Interval | None:
    """Of the mean over seeds, for new seeds on the same test inputs; None for one seed, which does not say."""
    if len(accuracies) < 2:
        return None
    mean = float(np.mean(accuracies))
    off = t_quantile(len(accuracies)) * float(np.std(accuracies, ddof=1)) / math.sqrt(len(accuracies))
    return Interval(mean - off, mean + off)


def accuracy_interval(accuracies: Sequence[float], test_inputs: int | None) -> Interval | None:
    """Of the mean over seeds, or of one seed over test inputs (Wilson); within [0, 1]. None where neither is known."""
    if len(accuracies) == 1:
        return None if test_inputs is None else Interval(*wilson_interval(accuracies[0], test_inputs))
    found = mean_interval(accuracies)
    return None if found is None else Interval(max(0.0, found.low), min(1.0, found.high))


def paired_difference(arm: Mapping[int, float], rival: Mapping[int, float]) -> Difference | None:
    """An arm minus its rival, by seed; None where they have no seed in common.

    A seed has the same labels in both, so that what is easy or hard about these labels cancels.

    Args:
        arm, rival: accuracies by seed.
    """
    seeds = tuple(sorted(arm.keys() & rival.keys()))
    if not seeds:
        return None
    differences = [arm[seed] - rival[seed] for seed in seeds]
    p = sign_flip_p(differences) if len(seeds) > 1 else None
    return Difference(seeds, float(np.mean(differences)), mean_interval(differences), p)


def sign_flip_p(differences: Sequence[float]) -> float:
    """How often a mean is as far from 0 as this one, if each difference might as well have the other sign (Fisher, 1935).

    Two-sided. All flips are tried, and beyond `EXACT` seeds `DRAWN` of them, always the same ones.
    """
    found = stats.permutation_test(
        (np.asarray(differences, dtype=float),),
        lambda values, axis: values.mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**EXACT if len(differences) <= EXACT else DRAWN,
        batch=2**12,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def smallest_p(seeds: int) -> float:
    """What `sign_flip_p` is if all seeds agree: no number of seeds can give less."""
    return 2.0 ** (1 - seeds)


def fewest_seeds(comparisons: int = 1) -> int:
    """With how many seeds a difference can be sure at all: p below 0.05, by Holm's method if there are several comparisons."""
    return 1 + math.ceil(math.log2(comparisons / (1 - CONFIDENCE) - 1e-9))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values for all of them together: where one is below 0.05, the chance of any false finding is (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, dtype=float)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1) if len(order) else scaled
    return corrected.tolist()
