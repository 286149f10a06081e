import itertools

import pytest
import torch

from ssl_cli.config.schema import Optimiser, Rate
from ssl_cli.training.optim import LARS, base_rate, learning_rate, optimiser, set_rate


def rates(steps: int, per_epoch: int, rate: Rate) -> list[float]:
    return [learning_rate(step, steps, per_epoch, 1.0, rate) for step in range(steps + 1)]


def test_warm_up_rises_linearly_and_cosine_ends_at_zero():
    made = rates(20, 5, Rate(warmup=0.25, decay="cosine", gamma=1.0))
    assert made[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert made[-1] == pytest.approx(0)
    assert all(a >= b for a, b in itertools.pairwise(made[5:]))


def test_the_linear_rate_falls_to_zero_by_equal_parts():
    made = rates(10, 5, Rate(warmup=0.2, decay="linear", gamma=1.0))
    assert made == pytest.approx([0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0])


def test_the_inverse_root_rate_is_half_as_high_after_four_times_as_many_steps():
    made = rates(20, 5, Rate(warmup=0.2, decay="inverse_root", gamma=1.0))
    assert made[3] == made[4] * (5 / 4) ** 0.5 == 1.0
    assert made[15] == pytest.approx(0.5)


def test_exponential_loses_its_factor_once_an_epoch():
    made = rates(12, 4, Rate(warmup=0, decay="exponential", gamma=0.5))
    assert made[:12] == [1.0] * 4 + [0.5] * 4 + [0.25] * 4


def test_a_constant_rate_stays():
    assert set(rates(10, 2, Rate(warmup=0, decay="constant", gamma=1.0))) == {1.0}


@pytest.mark.parametrize(("scale", "rate"), [("none", 0.1), ("linear", 0.4), ("root", 3.2)])
def test_the_rate_can_grow_with_the_batch(scale, rate):
    assert base_rate(Optimiser("lars", 0.1, scale, 0.9, (0.9, 0.999), 1e-4), 1024) == pytest.approx(rate)


def test_lars_moves_a_weight_by_a_share_of_its_length_and_a_bias_by_its_gradient():
    weight, bias = torch.nn.Parameter(torch.full((2, 8), 3.0)), torch.nn.Parameter(torch.full((8,), 3.0))
    made = LARS([weight, bias], lr=2.0, momentum=0.5, weight_decay=0.0)
    for length in (1.0, 1.5):  # the second step has half the first one in it
        before = weight.detach().clone(), bias.detach().clone()
        weight.grad, bias.grad = torch.full((2, 8), 1e-5), torch.full((8,), 0.01)
        made.step()
        assert (before[0] - weight).norm().item() == pytest.approx(2 * 0.001 * 12 * length, rel=1e-2)
        assert (before[1] - bias)[0].item() == pytest.approx(2 * 0.01 * length)


def test_lars_decays_weights_and_no_biases():
    weight, bias = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    made = LARS([weight, bias], lr=1.0, momentum=0.0, weight_decay=0.1)
    weight.grad, bias.grad = torch.zeros(2, 2), torch.zeros(2)
    made.step()
    assert weight[0, 0].item() == pytest.approx(0.999)
    assert bias[0].item() == 1


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lars"])
def test_groups_learn_at_their_share_of_the_rate(name):
    slow, fast = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    made = optimiser([(0.25, [slow]), (1.0, [fast])], Optimiser(name, 1.0, "none", 0.0, (0.9, 0.999), 0.0))
    set_rate(made, 0.1)
    slow.grad, fast.grad = torch.ones(3), torch.ones(3)
    made.step()
    moved = [1 - weight[0].item() for weight in (slow, fast)]
    assert moved == pytest.approx([0.025, 0.1], rel=1e-4)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_forgets_as_its_betas_say(name):
    weight = torch.nn.Parameter(torch.ones(1))
    made = optimiser([(1.0, [weight])], Optimiser(name, 0.1, "none", 0.0, (0.5, 0.75), 0.0))
    for gradient in (1.0, 0.0):
        weight.grad = torch.tensor([gradient])
        made.step()
    # Means 0.25 and 0.1875 of weights that add up to 0.75 and 0.4375, after a first step of one whole rate.
    second = (0.25 / 0.75) / (0.1875 / 0.4375) ** 0.5
    assert weight.item() == pytest.approx(1 - 0.1 * (1 + second), abs=1e-5)
