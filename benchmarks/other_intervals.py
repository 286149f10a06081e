"""Intervals for labels saved that the package does not use, of many simulated curves at once: for benchmarks/coverage.py."""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy import stats

from ssl_cli.report import intervals

BUDGETS = np.array([20, 50, 100, 200, 500, 1000])
LOGS = np.log(BUDGETS)
RESAMPLES = 400
Ends = tuple[str, np.ndarray, np.ndarray]


def monotone(means: np.ndarray) -> np.ndarray:
    """Isotonic regression of many curves at once (max over starts of the min over ends of means between): (..., budgets)."""
    count = means.shape[-1]
    sums = np.concatenate([np.zeros((*means.shape[:-1], 1)), means.cumsum(-1)], axis=-1)
    best = np.full(means.shape, -np.inf)
    for start in range(count):
        lowest = np.full(means.shape[:-1], np.inf)
        for end in range(count - 1, start - 1, -1):  # of blocks that reach at least to `end`
            lowest = np.minimum(lowest, (sums[..., end + 1] - sums[..., start]) / (end + 1 - start))
            best[..., end] = np.maximum(best[..., end], lowest)
    return np.maximum.accumulate(best, axis=-1)


def crossing(accuracies: np.ndarray, means: np.ndarray) -> np.ndarray:
    """log labels where monotone curves (..., budgets) have these accuracies (...), infinite where they have not."""
    after = np.clip((means < accuracies[..., None]).sum(-1), 1, len(BUDGETS) - 1)
    low, high = (np.take_along_axis(means, (after + shift)[..., None], -1)[..., 0] for shift in (-1, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip(np.nan_to_num((accuracies - low) / (high - low)), 0, 1)
    found = LOGS[after - 1] + share * (LOGS[after] - LOGS[after - 1])
    return np.where(accuracies > means[..., -1], np.inf, np.where(accuracies < means[..., 0], -np.inf, found))


def estimate(arm: np.ndarray, rival: np.ndarray, place: int) -> tuple[np.ndarray, np.ndarray]:
    """log labels needed, and its standard error by the delta method, of curves (..., seeds, budgets)."""
    own, means = monotone(arm.mean(-2))[..., place], monotone(rival.mean(-2))
    found = crossing(own, means)
    inside = np.clip(found, LOGS[0], LOGS[-1])
    after = np.clip(np.searchsorted(LOGS, inside), 1, len(LOGS) - 1)
    share = (inside - LOGS[after - 1]) / (LOGS[after] - LOGS[after - 1])

    def at(number):
        return np.take_along_axis(rival, np.broadcast_to(number[..., None, None], (*rival.shape[:-1], 1)), -1)[..., 0]

    gaps = arm[..., place] - (1 - share[..., None]) * at(after - 1) - share[..., None] * at(after)
    rise = np.take_along_axis(means, after[..., None], -1) - np.take_along_axis(means, after[..., None] - 1, -1)
    slope = rise[..., 0] / (LOGS[after] - LOGS[after - 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        error = gaps.std(-1, ddof=1) / math.sqrt(arm.shape[-2]) / slope
    return found, np.nan_to_num(error, nan=np.inf, posinf=np.inf)


def resampled(arm: np.ndarray, rival: np.ndarray, place: int, generator: np.random.Generator):
    """Estimates and standard errors of whole curves drawn again, (repeats, RESAMPLES)."""
    found, errors = [], []
    for one, other in zip(arm, rival, strict=True):
        picked = generator.integers(0, len(one), (RESAMPLES, len(one)))
        value, error = estimate(one[picked], other[picked], place)
        found.append(value)
        errors.append(error)
    return np.array(found), np.array(errors)


def quantiles(values: np.ndarray, levels) -> np.ndarray:
    """Of rows that may hold infinite numbers: those of their order, (repeats,) for each level, which may differ by row."""
    ordered = np.sort(values, axis=1)
    places = np.clip(np.floor(np.asarray(levels) * (values.shape[1] + 1)).astype(int) - 1, 0, values.shape[1] - 1)
    return np.take_along_axis(ordered, np.broadcast_to(places, (len(values),))[:, None], 1)[:, 0]


def to_edges(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends beyond the budgets are open."""
    low, high = (np.where(end > LOGS[-1], np.inf, np.where(end < LOGS[0], -np.inf, end)) for end in (low, high))
    return low, high


def other_intervals(arm: np.ndarray, rival: np.ndarray, place: int, generator: np.random.Generator) -> Iterator[Ends]:
    """By name, both ends of log labels needed, (repeats,), of curves (repeats, seeds, budgets) at a place among the budgets."""
    seeds = arm.shape[1]
    found, error = estimate(arm, rival, place)
    again, errors = resampled(arm, rival, place, generator)
    low, high = quantiles(again, 0.025), quantiles(again, 0.975)
    yield "percentile bootstrap", low, high
    edge = np.clip(found, LOGS[0], LOGS[-1])
    with np.errstate(invalid="ignore"):
        yield "basic bootstrap", *to_edges(2 * edge - high, 2 * edge - low)
    yield "BCa bootstrap", *bca(arm, rival, place, edge, again)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = np.nan_to_num((again - edge[:, None]) / errors, nan=0.0, posinf=np.inf, neginf=-np.inf)
        ends = edge - quantiles(ratios, 0.975) * error, edge - quantiles(ratios, 0.025) * error
    yield "bootstrap-t", *to_edges(*(np.nan_to_num(end, nan=0, posinf=np.inf, neginf=-np.inf) for end in ends))
    off = intervals.t_quantile(seeds) * error
    yield "delta method, t", *to_edges(edge - off, edge + off)


def bca(arm, rival, place, edge, again):
    """Bias-corrected and accelerated (Efron, 1987), of values cut to a wide range."""
    cut = partial(np.clip, a_min=LOGS[0] - 1, a_max=LOGS[-1] + 1)
    below = ((again < edge[:, None]).mean(1) + (again <= edge[:, None]).mean(1)) / 2
    bias = stats.norm.ppf(np.clip(below, 0.5 / RESAMPLES, 1 - 0.5 / RESAMPLES))
    left_out = np.stack(
        [cut(estimate(np.delete(arm, one, 1), np.delete(rival, one, 1), place)[0]) for one in range(arm.shape[1])], 1
    )
    away = left_out.mean(1, keepdims=True) - left_out
    with np.errstate(invalid="ignore"):
        acceleration = np.nan_to_num((away**3).sum(1) / (6 * (away**2).sum(1) ** 1.5))
    for level in (0.025, 0.975):
        z = bias + stats.norm.ppf(level)
        yield quantiles(again, stats.norm.cdf(bias + z / (1 - acceleration * z)))
