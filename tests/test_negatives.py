import math
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as processes
from torch import Tensor

from ssl_cli.config.build import build
from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.methods.simclr import nt_xent, nt_xent_with
from ssl_cli.processes import gather, own, together
from ssl_cli.randomness import Draws
from ssl_cli.stages.networks import pretraining_method


def pair(n: int = 6, d: int = 5) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(3)
    return tuple(torch.randn(n, d, generator=source, dtype=torch.float64).requires_grad_() for _ in range(2))


def similarities(z0: Tensor, z1: Tensor, temperature: float) -> Tensor:
    z = torch.nn.functional.normalize(torch.cat([z0, z1]), dim=1)
    return (z @ z.T / temperature).tolist()


def test_without_options_it_is_nt_xent_and_has_its_gradient():
    plain, other = pair(), pair()
    losses = nt_xent(*plain, 0.2), nt_xent_with(*other, 0.2)
    torch.testing.assert_close(*losses, atol=1e-12, rtol=0)
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(plain[0].grad, other[0].grad, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("temperature", "share"), [(0.5, 0.1), (0.1, 0.1), (0.5, 0.9)])
def test_the_debiased_sum_is_chuangs(temperature, share):
    z0, z1 = pair()
    rows, n, total = similarities(z0, z1, temperature), 6, 0.0
    for i, row in enumerate(rows):
        partner = (i + n) % (2 * n)
        negatives = [math.exp(s) for j, s in enumerate(row) if j not in (i, partner)]
        positive, count = math.exp(row[partner]), len(negatives)
        clean = (sum(negatives) / count - share * positive) / (1 - share)
        total -= math.log(positive / (positive + count * max(clean, math.exp(-1 / temperature))))
    assert nt_xent_with(z0, z1, temperature, debias=share).item() == pytest.approx(total / (2 * n), abs=1e-9)


def test_cancelling_leaves_out_the_most_similar_negatives():
    z0, z1 = pair()
    rows, n, total = similarities(z0, z1, 0.3), 6, 0.0
    for i, row in enumerate(rows):
        partner = (i + n) % (2 * n)
        negatives = sorted(s for j, s in enumerate(row) if j not in (i, partner))[:-3]
        total += math.log(1 + sum(math.exp(s - row[partner]) for s in negatives))
    assert nt_xent_with(z0, z1, 0.3, cancel=0.3).item() == pytest.approx(total / (2 * n), abs=1e-9)


def test_a_queue_adds_negatives_and_gets_no_gradient():
    z0, z1 = pair()
    queue = torch.randn(4, 5, dtype=torch.float64)
    alone, both = nt_xent_with(z0, z1, 0.3), nt_xent_with(z0, z1, 0.3, queue=queue)
    assert both > alone
    torch.testing.assert_close(nt_xent_with(z0, z1, 0.3, queue=7 * queue), both)  # only directions count


def test_the_queue_keeps_the_latest_and_its_teacher_is_updated():
    config = from_overrides(
        "dataset=synthetic", "backbone.width=2", "method.negatives.queue=48", "method.negatives.momentum=0.5"
    )
    dataset = load(config.dataset)
    method = pretraining_method(config, dataset)
    views = build(config.augment.pretrain, scale=1.0)

    def seen(number: int) -> tuple[Tensor, ...]:
        return views(dataset.train.inputs[:8], 2, Draws(0, "v", number))

    def step(number: int) -> Tensor:
        return method.loss(seen(number), None, Draws(0, "test"))[0]

    step(0)
    before = method.queue.embeddings.clone()
    assert int((before.norm(dim=1) > 0.5).sum()) == 16
    without = nt_xent(*method.head(method.backbone(torch.cat(seen(1)))).chunk(2), 0.1)
    assert step(1) > without
    assert torch.equal(method.queue.embeddings[:16], before[:16])
    for number in (2, 3):
        step(number)
    assert int((method.queue.embeddings.norm(dim=1) > 0.5).sum()) == 48
    assert not torch.equal(method.queue.embeddings[:16], before[:16])
    student, teacher = method.backbone.stages[0][0].weight, method.teacher[0].stages[0][0].weight
    with torch.no_grad():
        student += 1
    gap = (student - teacher).abs().max()
    method.after_step(0, 10)
    assert (student - teacher).abs().max().item() == pytest.approx(gap.item() / 2, rel=1e-5)
    assert not any(p.requires_grad for p in method.teacher.parameters())


def _one_of_two(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    z0, z1 = (z.detach().requires_grad_() for z in pair())
    with together(rank, 2):
        loss = nt_xent(*(gather(own(z)) for z in (z0, z1)), 0.3)
    loss.backward()
    torch.save((loss.detach(), z0.grad), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_share_their_negatives(tmp_path: Path):
    processes.spawn(_one_of_two, (str(tmp_path),), nprocs=2)
    z0, z1 = pair()
    whole = nt_xent(z0, z1, 0.3)
    whole.backward()
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for loss, _ in halves:
        torch.testing.assert_close(loss, whole.detach())
    # Every process has the whole loss, so their gradients are the whole's, times the number of processes that are averaged.
    torch.testing.assert_close(halves[0][1] + halves[1][1], 2 * z0.grad)
