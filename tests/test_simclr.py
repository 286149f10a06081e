import json
import math
from pathlib import Path

import pytest
import torch

from ssl_cli.methods.base import embedding_spread
from ssl_cli.methods.simclr import nt_xent

# Computed with lightly 1.6.0 in float64 on the inputs of `pair`: n, d, temperature → mean over 2n anchors.
REFERENCE = json.loads((Path(__file__).parent / "nt_xent_reference.json").read_text())


def pair(n: int, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    i = torch.arange(n * d, dtype=torch.float64).reshape(n, d)
    return (0.37 * i).sin() + 0.5 * (0.11 * i).cos(), (0.37 * i + 0.6).sin() + 0.5 * (0.11 * i - 0.4).cos()


@pytest.mark.parametrize("case", REFERENCE, ids=lambda case: f"{case['n']}x{case['d']}-t{case['temperature']}")
def test_nt_xent_equals_the_reference(case):
    loss = nt_xent(*pair(case["n"], case["d"]), case["temperature"])
    assert loss.item() == pytest.approx(case["nt_xent"], abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 512])
def test_equal_embeddings_give_the_log_of_the_choices(n):
    z = torch.ones(n, 8, dtype=torch.float64)
    assert nt_xent(z, z, 0.5).item() == pytest.approx(math.log(2 * n - 1), abs=1e-9)


@pytest.mark.parametrize(("n", "expected"), [(2, 0.23954), (256, 4.24880)])
def test_identical_positives_among_orthogonal_negatives(n, expected):
    z = torch.eye(n, dtype=torch.float64)
    assert nt_xent(z, z, 0.5).item() == pytest.approx(expected, abs=1e-5)


def test_nt_xent_does_not_see_order_of_views_order_of_inputs_or_length():
    z0, z1 = pair(16, 10)
    mixed = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    loss = nt_xent(z0, z1, 0.2)
    for other in (nt_xent(z1, z0, 0.2), nt_xent(z0[mixed], z1[mixed], 0.2), nt_xent(3 * z0, 0.1 * z1, 0.2)):
        torch.testing.assert_close(other, loss)


def test_the_gradient_is_orthogonal_to_the_embedding():
    z0, z1 = (z.requires_grad_() for z in pair(8, 6))
    nt_xent(z0, z1, 0.5).backward()
    for z in (z0, z1):
        torch.testing.assert_close((z * z.grad).sum(1), torch.zeros(8, dtype=torch.float64))
        assert z.grad.abs().max() > 1e-4


def test_the_spread_tells_collapse_from_health():
    z, _ = pair(64, 16)
    assert embedding_spread(torch.ones(64, 16)) == pytest.approx(0, abs=1e-6)
    assert embedding_spread(torch.cat([torch.eye(16), -torch.eye(16)])) == pytest.approx(1)
    assert embedding_spread(z) > 0.1


def test_the_loss_stays_exact_where_the_network_computes_in_bfloat16():
    z0, z1 = (z.float() for z in pair(16, 10))
    exact = nt_xent(z0, z1, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert nt_xent(z0, z1, 0.1) == exact


@pytest.mark.parametrize("rows", [1, 5, 31])
def test_similarities_in_blocks_give_the_same_loss_and_gradient(rows):
    whole, blocks = ([z.requires_grad_() for z in pair(16, 10)] for _ in range(2))
    losses = nt_xent(*whole, 0.2), nt_xent(*blocks, 0.2, matrix_bytes=rows * 32 * 8)
    torch.testing.assert_close(losses[0], losses[1], atol=1e-9, rtol=0)
    for loss in losses:
        loss.backward()
    for one, other in zip(whole, blocks, strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-9, rtol=0)


def test_its_gradient_is_that_of_finite_differences():
    z0, z1 = (z.requires_grad_() for z in pair(4, 3))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.3, matrix_bytes=3 * 8 * 8), (z0, z1))


def test_no_matrix_is_kept_for_the_backward_pass():
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        nt_xent(*(z.requires_grad_() for z in pair(64, 4)), 0.2)
    assert sizes
    assert max(sizes) < 16 * 128
