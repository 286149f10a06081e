import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ssl_cli.report.label_curve import Curve, labels_saved, monotone

BUDGETS = (20, 50, 100, 200, 500, 1000)
SLOPE = 0.05  # accuracy for each factor e of labels


def line(arm="rival", times=1.0, seeds=(0.0,), budgets=BUDGETS):
    """A straight line in log labels, as if there were `times` as many labels; what each seed adds."""
    return Curve(
        arm,
        {n: {seed: 0.5 + SLOPE * math.log(times * n / 20) + more for seed, more in enumerate(seeds)} for n in budgets},
    )


def by_budget(arm, *means, budgets=BUDGETS):
    """Two seeds a hundredth apart."""
    return Curve(arm, {n: {0: mean - 0.005, 1: mean + 0.005} for n, mean in zip(budgets, means, strict=True)})


@pytest.mark.parametrize("times", [3.0, 1.7, 1.0, 0.6])
@pytest.mark.parametrize("labels", [100, 200])
def test_labels_saved_of_straight_lines(times, labels):
    found = labels_saved(line("arm", times, seeds=(0, 0.01, 0.03)), [line(seeds=(0, 0.01, 0.03))], labels)
    assert found.estimate == pytest.approx((times - 1) * labels)
    # what a seed adds to both arms cancels
    assert found.interval == (pytest.approx(found.estimate, abs=1e-4), pytest.approx(found.estimate, abs=1e-4))
    assert (found.rival, found.seeds, found.left_out, found.tried) == ("rival", (0, 1, 2), (), (20, 1000))


def test_the_interval_of_parallel_lines_is_student_s_over_log_labels():
    more = (-0.01, 0.0, 0.02, -0.01)
    found = labels_saved(line("arm", 2, seeds=more), [line(seeds=(0, 0, 0, 0))], 100)
    off = stats.t.ppf(0.975, 3) * np.std(more, ddof=1) / 2 / SLOPE
    assert found.estimate == pytest.approx(100)
    assert found.interval == (pytest.approx(200 * math.exp(-off) - 100), pytest.approx(200 * math.exp(off) - 100))


def test_the_interval_where_seeds_differ_in_slope_is_fieller_s():
    rival = Curve("rival", {100: {0: 0.50, 1: 0.52, 2: 0.51}, 1000: {0: 0.90, 1: 0.98, 2: 0.91}})
    arm = Curve("arm", {100: {0: 0.70, 1: 0.72, 2: 0.74}})
    low, high = labels_saved(arm, [rival], 100).interval

    def p_value(saved):
        share = math.log((100 + saved) / 100) / math.log(10)
        own = [(1 - share) * rival.accuracies[100][seed] + share * rival.accuracies[1000][seed] for seed in range(3)]
        return stats.ttest_rel(own, [arm.accuracies[100][seed] for seed in range(3)]).pvalue

    assert 0 < low < high < 900
    assert (p_value(low), p_value(high)) == (pytest.approx(0.05), pytest.approx(0.05))
    assert p_value((low + high) / 2) > 0.05 > p_value(0.9 * low)


def test_more_than_the_most_that_were_tried():
    noise = (-0.01, 0.0, 0.01)
    above = labels_saved(line("arm", 100, seeds=(0, 0, 0)), [line(seeds=noise)], 200)
    assert (above.estimate, above.interval) == (math.inf, (math.inf, math.inf))
    near = labels_saved(line("arm", 4.9, seeds=(0, 0, 0)), [line(seeds=noise)], 200)
    assert near.estimate == pytest.approx(4.9 * 200 - 200)  # is reached, but perhaps only with more
    assert 0 < near.interval.low < near.estimate
    assert near.interval.high == math.inf


def test_fewer_than_the_fewest_that_were_tried():
    noise = (-0.01, 0.0, 0.01)
    below = labels_saved(line("arm", 0.01, seeds=(0, 0, 0)), [line(seeds=noise)], 200)
    assert (below.estimate, below.interval) == (-math.inf, (-math.inf, -math.inf))
    near = labels_saved(line("arm", 0.11, seeds=(0, 0, 0)), [line(seeds=noise)], 200)
    assert near.estimate == pytest.approx(-178)
    assert near.interval.low == -math.inf
    assert -178 < near.interval.high < 0


@pytest.mark.parametrize(
    "means",
    [(0.5, 0.6, 0.7, 0.8, 0.85, 0.9), (0.5, 0.6, 0.6, 0.6, 0.85, 0.9), (0.6, 0.5, 0.8, 0.7, 0.72, 0.71), (0.5,) * 6],
    ids=["rising", "ties", "falling", "flat"],
)
def test_identical_curves_save_nothing(means):
    for labels in BUDGETS:
        found = labels_saved(by_budget("arm", *means), [by_budget("rival", *means)], labels)
        assert found.estimate == 0
        assert found.interval.low <= 0 <= found.interval.high


def test_of_a_flat_part_the_nearest_number_of_labels_counts():
    rival = by_budget("rival", 0.5, 0.6, 0.7, 0.7, 0.7, 0.9)
    for labels, saved in ((20, 80), (50, 50), (100, 0), (200, 0), (500, 0), (1000, -500)):
        flat = Curve("arm", {labels: {0: 0.695, 1: 0.705}})
        assert labels_saved(flat, [rival], labels).estimate == pytest.approx(saved)


def test_a_mean_that_falls_is_shared_seed_by_seed():
    found = monotone(np.array([[0.5, 0.8, 0.6, 0.9], [0.5, 0.6, 0.6, 0.9]]))
    np.testing.assert_allclose(found, [[0.5, 0.7, 0.7, 0.9], [0.5, 0.6, 0.6, 0.9]])


def test_a_seed_that_lacks_a_number_of_labels_is_left_out_as_a_whole():
    rival = line(seeds=(0, 0.01, 0.02))
    arm = line("arm", 2, seeds=(0, 0.01, 0.02))
    expected = labels_saved(
        Curve("arm", {n: {0: found[0], 2: found[2]} for n, found in arm.accuracies.items()}),
        [Curve("rival", {n: {0: found[0], 2: found[2]} for n, found in rival.accuracies.items()})],
        100,
    )
    gap = {
        n: {seed: value for seed, value in found.items() if (n, seed) != (500, 1)}
        for n, found in arm.accuracies.items()
    }
    found = labels_saved(Curve("arm", gap), [rival], 100)
    assert (found.seeds, found.left_out) == ((0, 2), (1,))
    assert (found.estimate, found.interval) == (expected.estimate, expected.interval)


def test_arms_may_have_other_numbers_of_labels():
    found = labels_saved(line("arm", 2, budgets=(70, 150)), [line(budgets=(20, 100, 1000))], 150)
    assert found.estimate == pytest.approx(150)
    beyond = labels_saved(line("arm", 1, budgets=(10, 2000)), [line()], 2000)
    assert (beyond.estimate, beyond.tried) == (math.inf, (20, 1000))


def test_one_seed_has_no_interval():
    found = labels_saved(line("arm", 2), [line()], 100)
    assert found.estimate == pytest.approx(100)
    assert found.interval is None


def test_the_best_of_several_rivals_counts_and_the_high_end_is_the_first_one_s():
    more = (-0.01, 0.0, 0.01)
    arm, first, better = line("arm", 3, seeds=(0, 0, 0)), line("first", seeds=more), line("better", 1.5, seeds=more)
    alone = {rival.arm: labels_saved(arm, [rival], 100) for rival in (first, better)}
    found = labels_saved(arm, [first, better], 100)
    assert (found.rival, found.estimate) == ("better", alone["better"].estimate)
    assert found.interval == (alone["better"].interval.low, alone["first"].interval.high)


def test_noise_in_the_slope_does_not_make_the_interval_too_short():
    """Steep and flat curves with noise that is alike within a seed: 95 % of the intervals hold the truth."""
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        offsets, tilts = generator.normal(0, 0.02, (2, 6, 1)), generator.normal(0, 0.008, (2, 6, 1))
        logs = np.log(np.array(BUDGETS) / 20)
        curves = 0.5 + SLOPE * (logs + np.log([2, 1])[:, None, None]) + offsets + tilts * logs
        arm, rival = (
            Curve(name, {n: dict(enumerate(one[:, i])) for i, n in enumerate(BUDGETS)})
            for name, one in zip(("arm", "rival"), curves, strict=True)
        )
        low, high = labels_saved(arm, [rival], 100).interval
        held += low <= 100 <= high
    assert 0.92 < held / 300 < 0.985


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [
        ({20: {0: math.nan}}, "arm “x”, 20 labels, seed 0: accuracy nan; must be from 0 to 1"),
        ({20: {0: 0.5}, 50: {1: 93.0}}, "arm “x”, 50 labels, seed 1: accuracy 93.0; must be from 0 to 1"),
        ({0: {0: 0.5}}, "arm “x”: 0 labels; must be at least 1"),
        ({}, "arm “x”: must have an accuracy at each"),
        ({20: {0: 0.5}, 50: {}}, "arm “x”: must have an accuracy at each"),
    ],
)
def test_numbers_that_cannot_be_are_refused(accuracies, said):
    with pytest.raises(ValueError, match=said):
        Curve("x", accuracies)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"arm “arm”: has no accuracy with 70 labels; must be one of \(20, 50"):
        labels_saved(line("arm"), [line()], 70)
    with pytest.raises(ValueError, match="arm “arm”: must have at least one rival"):
        labels_saved(line("arm"), [], 20)
    other = Curve("other", {20: {5: 0.5}})
    with pytest.raises(ValueError, match="arms “arm”, “other”: no seed has every number of labels in each of them"):
        labels_saved(line("arm"), [other], 20)


def test_the_simulation_of_the_page_runs():
    program = Path(__file__).parent.parent / "benchmarks/coverage.py"
    done = subprocess.run(
        [sys.executable, "-W", "error", program, "--repeats", "5"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("inverted paired t-test") == 1
