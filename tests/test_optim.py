import itertools

import pytest

from ssl_cli.optim import learning_rate
from ssl_cli.schema import Rate


def rates(steps: int, per_epoch: int, rate: Rate) -> list[float]:
    return [learning_rate(step, steps, per_epoch, 1.0, rate) for step in range(steps + 1)]


def test_warm_up_rises_linearly_and_cosine_ends_at_zero():
    made = rates(20, 5, Rate(warmup=0.25, decay="cosine", gamma=1.0))
    assert made[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert made[-1] == pytest.approx(0)
    assert all(a >= b for a, b in itertools.pairwise(made[5:]))


def test_exponential_loses_its_factor_once_an_epoch():
    made = rates(12, 4, Rate(warmup=0, decay="exponential", gamma=0.5))
    assert made[:12] == [1.0] * 4 + [0.5] * 4 + [0.25] * 4


def test_a_constant_rate_stays():
    assert set(rates(10, 2, Rate(warmup=0, decay="constant", gamma=1.0))) == {1.0}
