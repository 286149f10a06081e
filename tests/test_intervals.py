import itertools
import math

import numpy as np
import pytest
from scipy import stats

from ssl_cli.report.intervals import (
    fewest_seeds,
    holm,
    mean_interval,
    paired_difference,
    sign_flip_p,
    smallest_p,
)


def test_the_interval_of_a_mean_is_student_s():
    # t = 4.303 for two degrees of freedom, standard deviation 0.01
    low, high = mean_interval([0.89, 0.90, 0.91])
    assert (low, high) == (pytest.approx(0.90 - 4.3027 * 0.01 / math.sqrt(3), abs=1e-6), pytest.approx(1.8 - low))
    assert mean_interval([0.9, 0.9]) == (0.9, 0.9)
    assert mean_interval([0.9]) is None


def test_a_difference_is_over_the_seeds_of_both_arms_and_their_noise_cancels():
    arm, rival = {0: 0.91, 1: 0.83, 2: 0.97, 7: 0.1}, {0: 0.90, 1: 0.81, 2: 0.94, 8: 0.9}
    found = paired_difference(arm, rival)
    assert found.seeds == (0, 1, 2)
    assert found.mean == pytest.approx(0.02)
    theirs = stats.ttest_rel([0.91, 0.83, 0.97], [0.90, 0.81, 0.94]).confidence_interval(0.95)
    assert found.interval == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    assert found.p == 0.25
    assert paired_difference({0: 0.5}, {1: 0.5}) is None


def test_one_seed_has_a_difference_and_no_interval():
    found = paired_difference({3: 0.75}, {3: 0.5})
    assert (found.mean, found.interval, found.p) == (0.25, None, None)


def test_equal_arms_do_not_differ():
    found = paired_difference({0: 0.5, 1: 0.7}, {0: 0.5, 1: 0.7})
    assert (found.mean, found.interval, found.p) == (0, (0, 0), 1)


@pytest.mark.parametrize("differences", [[1, 2, -3, 4, 5, 6, 0.5], [1, 1, 1, -1, 1, 1, 1], [0, 0, 1, 2, 3, 4]])
def test_the_sign_flip_test_counts_all_flips(differences):
    flips = [
        abs(np.mean(np.multiply(differences, signs))) for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    assert sign_flip_p(differences) == np.mean(np.array(flips) >= abs(np.mean(differences)) - 1e-12)


@pytest.mark.parametrize("seeds", [2, 5, 6, 12, 16])
def test_if_all_seeds_agree_p_is_the_smallest_there_is(seeds):
    differences = np.random.default_rng(0).uniform(0.01, 0.02, seeds)
    assert sign_flip_p(differences) == sign_flip_p(-differences) == smallest_p(seeds) == 2 / 2**seeds


def test_beyond_sixteen_seeds_flips_are_drawn_and_always_the_same():
    differences = np.random.default_rng(0).normal(0.3, 1, 24)
    found = sign_flip_p(differences)
    assert found == sign_flip_p(differences)
    assert found == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)


def test_how_many_seeds_it_takes():
    for comparisons in (1, 2, 5, 30):
        seeds = fewest_seeds(comparisons)
        assert comparisons * smallest_p(seeds) <= 0.05 < comparisons * smallest_p(seeds - 1)
    assert fewest_seeds() == 6


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    assert holm([0.03, 0.01, 0.04]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []
