import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.build import build
from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.methods.moco import MoCo, similarities
from ssl_cli.methods.parts.queue import Queue
from ssl_cli.randomness import Draws
from ssl_cli.stages.networks import pretraining_method


def made(*overrides: str) -> tuple[MoCo, tuple[Tensor, ...]]:
    config = from_overrides("method=moco", "dataset=synthetic", "backbone.width=2", *overrides)
    dataset = load(config.dataset)
    views = build(config.augment.pretrain, scale=1.0)(dataset.train.inputs[:8], 2, Draws(0, "v"))
    return pretraining_method(config, dataset), views


def with_another_teacher(method: MoCo) -> MoCo:
    with torch.no_grad():
        for weight in method.teacher.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return method


def test_a_queue_holds_the_latest_in_place_of_the_oldest():
    rows = F.normalize(torch.randn(12, 3), dim=1)
    queue = Queue(torch.zeros(5, 3))
    assert queue.filled().shape == (0, 3)
    for first in (0, 2, 4):
        queue.add(3 * rows[first : first + 2])
    torch.testing.assert_close(queue.embeddings, rows[[5, 1, 2, 3, 4]])
    queue.add(rows[6:12])  # more than it holds
    torch.testing.assert_close(queue.filled(), rows[[10, 6, 7, 8, 9]])


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_loss_is_the_cross_entropy_of_each_query_the_long_way(symmetric):
    method, views = made(f"method.symmetric={symmetric}", "method.queue=20", "method.temperature=0.3")
    with_another_teacher(method)
    before = method.queue.embeddings.clone()
    loss, numbers = method.loss(views, None, Draws(0, "test"))
    asked, wanted = (torch.cat(views), torch.cat(views[::-1])) if symmetric else views
    queries, keys = method.head(method.backbone(asked)), method.teacher(wanted)
    losses, right = [], 0
    for query, key in zip(queries, keys, strict=True):
        cosines = [F.cosine_similarity(query, other, dim=0) for other in (key, *before)]
        losses.append(F.cross_entropy(torch.stack(cosines) / 0.3, torch.tensor(0)))
        right += int(cosines[0] == max(cosines))
    torch.testing.assert_close(loss, torch.stack(losses).mean(), atol=1e-4, rtol=1e-4)
    assert numbers["pretext_accuracy"].item() == pytest.approx(right / len(losses))


def test_an_untrained_query_that_is_like_nothing_pays_the_log_of_all():
    queries, others = torch.eye(3)[:1], torch.eye(3)[1:]
    logits = similarities(queries, others[:1], others, 0.1)
    assert F.cross_entropy(logits, torch.tensor([0])).item() == pytest.approx(torch.tensor(3.0).log().item())


def test_keys_join_the_queue_after_they_were_asked_for_and_feel_nothing():
    method, views = made("method.queue=20", "method.symmetric=false")
    before = method.queue.embeddings.clone()
    loss, _ = method.loss(views, None, Draws(0, "test"))
    loss.backward()
    torch.testing.assert_close(
        method.queue.embeddings[:8], F.normalize(method.teacher(views[1]), dim=1), atol=1e-4, rtol=1e-3
    )
    assert torch.equal(method.queue.embeddings[8:], before[8:])
    assert all(weight.grad is None for weight in method.teacher.parameters())
    assert all(weight.grad is not None for weight in (*method.backbone.parameters(), *method.head.parameters()))


def test_the_teacher_moves_by_the_same_fraction_at_every_step():
    method, _ = made("method.momentum=0.75")
    student, teacher = method.backbone.stages[0][0].weight, method.teacher[0].stages[0][0].weight
    with torch.no_grad():
        student += 1
    for step, left in ((0, 0.75), (9, 0.75**2)):
        method.after_step(step, 10)
        assert (student - teacher).max().item() == pytest.approx(left, rel=1e-4)
