import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.build import build
from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.errors import ConfigError
from ssl_cli.methods.barlow_twins import barlow_loss, cross_correlation
from ssl_cli.methods.base import Method
from ssl_cli.methods.lejepa import invariance, sigreg
from ssl_cli.methods.nnclr import info_nce, nearest
from ssl_cli.methods.parts.ema_teacher import cosine_momentum
from ssl_cli.methods.parts.prototypes import Prototypes
from ssl_cli.methods.simsiam import negative_cosine
from ssl_cli.methods.swav import sinkhorn
from ssl_cli.methods.vicreg import vicreg_terms
from ssl_cli.randomness import Draws
from ssl_cli.stages.networks import pretraining_method

METHODS = ("barlow_twins", "vicreg", "simsiam", "byol", "nnclr", "swav", "dino", "lejepa")

# Computed with lightly 1.6.0 in float64 on the inputs of `pair`, with λ = 0.005 and with 25, 25, 1; LeJEPA's with λ = 0.05
# and along `lines`.
REFERENCE = json.loads((Path(__file__).parent / "joint_embedding_reference.json").read_text())
# ±1, columns centred and orthogonal: as far apart as numbers can be.
HADAMARD = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)


def pair(n: int, d: int) -> tuple[Tensor, Tensor]:
    i = torch.arange(n * d, dtype=torch.float64).reshape(n, d)
    return (0.37 * i).sin() + 0.5 * (0.11 * i).cos(), (0.37 * i + 0.6).sin() + 0.5 * (0.11 * i - 0.4).cos()


def lines(d: int) -> Tensor:
    i = torch.arange(d * 32, dtype=torch.float64).reshape(d, 32)
    return (0.53 * i).sin() + 0.3 * (0.29 * i).cos()


def made(name: str, *overrides: str) -> tuple[Method, tuple[Tensor, ...]]:
    """A method on small networks, and two views of sixteen inputs."""
    config = from_overrides("dataset=synthetic", "backbone.width=4", f"method={name}", *overrides)
    dataset = load(config.dataset)
    views = build(config.augment.pretrain, scale=1.0)(dataset.train.inputs[:16], 2, Draws(0, "v"))
    return pretraining_method(config, dataset), views


def gradients(method: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    trained = {name: weight for name, weight in method.named_parameters() if weight.requires_grad}
    return dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))


def cosines(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


# What holds for all


@pytest.mark.parametrize("name", METHODS)
def test_all_that_is_trained_feels_the_loss(name):
    method, views = made(name)
    found = gradients(method, method.loss(views, None, Draws(0, "test"))[0])
    matrices = [key for key, gradient in found.items() if gradient.ndim > 1]
    assert {key.split(".")[0] for key in matrices} >= {"backbone", "head"}
    assert all(found[key].abs().sum() > 0 for key in matrices)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_read_back_goes_on_where_it_was(name):
    method, views = made(name)
    for step in range(3):
        method.loss(views, None, Draws(0, "test"))
        method.after_step(step, 10)
    other, _ = made(name, "seed=9")
    other.load_state_dict(method.state_dict())
    assert torch.equal(method.loss(views, None, Draws(0, "test"))[0], other.loss(views, None, Draws(0, "test"))[0])


@pytest.mark.parametrize("name", METHODS)
def test_both_views_count_alike(name):
    method, views = made(name)
    turned = made(name)[0].loss(views[::-1], None, Draws(0, "test"))[0]
    torch.testing.assert_close(method.loss(views, None, Draws(0, "test"))[0], turned, rtol=1e-3, atol=1e-4)


# Barlow Twins, VICReg


@pytest.mark.parametrize("case", REFERENCE, ids=lambda case: f"{case['n']}x{case['d']}")
def test_losses_equal_the_reference(case):
    z0, z1 = pair(case["n"], case["d"])
    parts, z = vicreg_terms(z0, z1), torch.stack([z0, z1])
    found = {
        "barlow": barlow_loss(cross_correlation(z0, z1), 0.005),
        "vicreg": 25 * parts["invariance"] + 25 * parts["variance"] + parts["covariance"],
        "negative_cosine": negative_cosine(z0, z1),
        "lejepa": 0.05 * sigreg(z, lines(case["d"])) + 0.95 * invariance(z),
    }
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {name: case[name] for name in found}, abs=1e-6
    )


def test_the_settings_are_the_weights_of_the_loss():
    method, views = made("vicreg", "method.invariance=3", "method.variance=5", "method.covariance=7")
    loss, logged = method.loss(views, None, Draws(0, "test"))
    torch.testing.assert_close(loss, 3 * logged["invariance"] + 5 * logged["variance"] + 7 * logged["covariance"])
    small, large = (
        made("barlow_twins", f"method.redundancy={weight}")[0].loss(views, None, Draws(0, "test"))[0]
        for weight in (1, 2)
    )
    assert large > small


def test_barlow_is_zero_where_numbers_agree_and_share_nothing_whatever_their_scale():
    scaled = HADAMARD * torch.tensor([3.0, 0.5, 7.0]) + torch.tensor([1.0, -2.0, 0.0])
    assert barlow_loss(cross_correlation(HADAMARD, scaled), 1.0).item() == pytest.approx(0, abs=1e-6)
    # One number three times: the diagonal is perfect, and all six others are 1.
    repeated = HADAMARD[:, :1].expand(-1, 3)
    assert barlow_loss(cross_correlation(repeated, repeated), 0.5).item() == pytest.approx(0.5 * 6, abs=1e-3)


def test_each_part_of_vicreg_sees_its_own_fault():
    equal = torch.ones(4, 3, dtype=torch.float64)
    assert {k: v.item() for k, v in vicreg_terms(equal, equal + 2).items()} == pytest.approx(
        {"invariance": 4, "variance": 0.99, "covariance": 0}
    )
    repeated = 2 * HADAMARD[:, :1].expand(-1, 3)
    parts = vicreg_terms(repeated, repeated)
    assert (parts["invariance"], parts["variance"]) == (0, 0)
    assert parts["covariance"].item() == pytest.approx(2 * 6 / 3 * (16 / 3) ** 2)
    assert sum(vicreg_terms(HADAMARD, HADAMARD).values()).item() == pytest.approx(0)


def test_lejepas_distribution_term_is_near_one_for_standard_normal_embeddings_and_large_for_others():
    source = torch.Generator().manual_seed(0)
    normal = torch.randn(1, 2048, 16, generator=source)
    along = torch.randn(16, 64, generator=source)
    assert sigreg(normal, along) == pytest.approx(1, abs=0.4)
    assert sigreg(2 * normal, along) > 50
    assert sigreg(normal + 1, along) > 50
    assert sigreg(torch.zeros(1, 2048, 16), along) > 500
    square = (torch.rand(1, 2048, 1, generator=source) - 0.5) * math.sqrt(12)  # mean 0, variance 1, and not normal
    assert sigreg(square, torch.ones(1, 1)) > 10
    torch.testing.assert_close(sigreg(normal, along), sigreg(normal, 3 * along))


def test_lejepas_setting_shares_the_loss_among_its_terms():
    method, views = made("lejepa", "method.regularisation=0.25")
    loss, logged = method.loss(views, None, Draws(0, "test"))
    torch.testing.assert_close(loss, 0.25 * logged["sigreg"] + 0.75 * logged["invariance"])
    assert method.loss(views, None, Draws(1, "test"))[0] != loss  # other lines


@pytest.mark.parametrize("name", ["barlow_twins", "vicreg"])
def test_losses_of_a_batch_stay_exact_where_the_network_computes_in_bfloat16(name):
    z0, z1 = (z.float() for z in pair(16, 10))
    part = {
        "barlow_twins": lambda: barlow_loss(cross_correlation(z0, z1), 0.005),
        "vicreg": lambda: vicreg_terms(z0, z1)["covariance"],
    }
    exact = part[name]()
    with torch.autocast("cpu", torch.bfloat16):
        assert part[name]() == exact


# SimSiam, BYOL: targets that feel nothing


def test_simsiams_targets_feel_no_gradient():
    method, views = made("simsiam")
    found = gradients(method, method.loss(views, None, Draws(0, "test"))[0])
    z0, z1 = method.project(views)
    p0, p1 = method.predictor(torch.cat([z0, z1])).chunk(2)
    fixed0, fixed1 = z0.tolist(), z1.tolist()
    by_hand = -(cosines(p0, torch.tensor(fixed1)).mean() + cosines(p1, torch.tensor(fixed0)).mean()) / 2
    for name, gradient in gradients(method, by_hand).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5)


def test_byol_predicts_its_teacher_by_squared_distance():
    method, views = made("byol", "method.momentum=0.5")
    method.after_step(0, 4)
    with torch.no_grad():
        for weight in method.teacher.parameters():
            weight += 0.1 * torch.randn_like(weight)
    loss = method.loss(views, None, Draws(0, "test"))[0]
    p0, p1 = (F.normalize(p) for p in method.predictor(torch.cat(method.project(views))).chunk(2))
    w0, w1 = (F.normalize(w) for w in method.teacher(torch.cat(views)).detach().chunk(2))
    by_hand = ((p0 - w1).square().sum(1) + (p1 - w0).square().sum(1)).mean()
    torch.testing.assert_close(loss, by_hand, rtol=1e-4, atol=1e-5)
    found, wanted = gradients(method, loss), gradients(method, by_hand)
    assert not any(name.startswith("teacher") for name in found)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["byol", "dino"])
def test_a_teacher_starts_as_a_copy_of_the_network_and_moves_ever_less(name):
    method, _ = made(name, "method.momentum=0.75")
    student = [*method.backbone.parameters(), *method.head.parameters()]
    student += list(method.prototypes.parameters()) if name == "dino" else []
    teacher = list(method.teacher.parameters())
    assert len(student) == len(teacher)
    assert all(torch.equal(one, other) for one, other in zip(student, teacher, strict=True))
    assert not any(weight.requires_grad for weight in teacher)
    with torch.no_grad():
        for weight in student:
            weight += 1
    gaps = []
    for step in (0, 5, 10):
        method.after_step(step, 10)
        gaps.append(max((one - other).abs().max().item() for one, other in zip(student, teacher, strict=True)))
    assert gaps == pytest.approx([0.75, 0.75 * 0.875, 0.75 * 0.875], rel=1e-4)
    assert (cosine_momentum(0.9, 0, 10), cosine_momentum(0.9, 10, 10)) == (pytest.approx(0.9), 1)


# NNCLR


def test_the_nearest_of_the_queue_is_by_cosine():
    support = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.2]]), dim=1)
    z = torch.tensor([[9.0, 1.0], [-0.1, -0.01], [0.1, 0.2]])
    assert torch.equal(nearest(z, support), support[[0, 2, 1]])


def test_info_nce_is_the_log_of_the_batch_where_all_are_alike():
    z = torch.ones(8, 4)
    assert info_nce(z, z, 0.1).item() == pytest.approx(math.log(8), abs=1e-5)
    apart = torch.eye(8)
    assert info_nce(apart, apart, 0.5).item() == pytest.approx(math.log(1 + 7 * math.exp(-2)), abs=1e-5)


def test_nnclr_takes_neighbours_for_positives():
    method, views = made("nnclr", "method.queue=48", "method.temperature=0.2")
    queue = method.queue.embeddings.clone()
    loss = method.loss(views, None, Draws(0, "test"))[0]
    z0, z1 = (z.detach() for z in method.project(views))
    p0, p1 = (F.normalize(p) for p in method.predictor(torch.cat([z0, z1])).chunk(2))
    total = 0.0
    for z, p in ((z0, p1), (z1, p0)):
        for item in range(16):
            neighbour = max(queue, key=lambda kept: float(cosines(kept[None], z[item : item + 1])))
            total -= F.log_softmax(p @ neighbour / 0.2, dim=0)[item] / 32
    torch.testing.assert_close(loss, total, rtol=1e-4, atol=1e-5)


def test_nnclrs_queue_keeps_the_latest_first_views():
    method, views = made("nnclr", "method.queue=24")
    before = method.queue.embeddings.clone()
    z0 = F.normalize(method.project(views)[0], dim=1)
    method.loss(views, None, Draws(0, "test"))
    torch.testing.assert_close(method.queue.embeddings[:16], z0)
    assert torch.equal(method.queue.embeddings[16:], before[16:])
    method.loss(tuple(view.flip(0) for view in views), None, Draws(0, "test"))
    torch.testing.assert_close(method.queue.embeddings[16:], z0.flip(0)[:8], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(method.queue.embeddings[:8], z0.flip(0)[8:], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(method.queue.embeddings[8:16], z0[8:], rtol=1e-3, atol=1e-4)


# SwAV, DINO


def test_codes_share_the_batch_out_evenly_and_stay_as_near_to_the_scores_as_that_allows():
    scores = torch.rand(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    found = sinkhorn(scores, 0.5, 200)
    torch.testing.assert_close(found.sum(1), torch.ones(12, dtype=torch.float64))
    torch.testing.assert_close(found.sum(0), torch.full((4,), 3.0, dtype=torch.float64))
    # Only factors of rows and of columns tell them from exp(scores / epsilon): their double differences vanish.
    difference = found.log() - scores / 0.5
    difference = difference - difference[:1]
    torch.testing.assert_close(difference, difference[:, :1].expand(-1, 4))


def test_codes_of_equal_inputs_are_even_and_of_sharp_scores_finite():
    torch.testing.assert_close(sinkhorn(torch.rand(1, 5).expand(10, 5), 0.05, 3), torch.full((10, 5), 0.2))
    sharp = sinkhorn(torch.eye(6), 1e-3, 3)
    torch.testing.assert_close(sharp, torch.eye(6))


def test_swav_predicts_the_other_views_code():
    method, views = made("swav", "method.prototypes=10", "method.epsilon=0.3")
    loss, logged = method.loss(views, None, Draws(0, "test"))
    s0, s1 = (F.normalize(z) @ F.normalize(method.prototypes.weight).T for z in method.project(views))
    by_hand = 0.0
    for predicted, other in ((s0, s1), (s1, s0)):
        wanted = torch.tensor(sinkhorn(other, 0.3, 3).tolist())
        by_hand = by_hand - (wanted * F.log_softmax(predicted / 0.1, dim=1)).sum() / 32
    torch.testing.assert_close(loss, by_hand, rtol=1e-4, atol=1e-5)
    found, wanted = gradients(method, loss), gradients(method, by_hand)
    torch.testing.assert_close(found["prototypes.weight"], wanted["prototypes.weight"], rtol=1e-3, atol=1e-5)
    assert logged["clusters"] == len(set(s0.argmax(1).tolist()))


def test_only_the_direction_of_a_prototype_counts():
    prototypes, z = Prototypes(3, 5), torch.randn(4, 3)
    before = prototypes(z)
    with torch.no_grad():
        prototypes.weight *= torch.rand(5, 1) + 0.5
    torch.testing.assert_close(prototypes(7 * z), before)
    assert before.abs().max() <= 1 + 1e-6


def test_dino_learns_the_teachers_centred_and_sharpened_distribution():
    method, views = made("dino", "method.prototypes=6", "method.centre_momentum=0.75")
    with torch.no_grad():
        method.centre += torch.linspace(-0.3, 0.3, 6)
        for weight in method.teacher.parameters():
            weight += 0.1 * torch.randn_like(weight)
    centre = method.centre.clone()
    loss = method.loss(views, None, Draws(0, "test"))[0]
    answers = method.prototypes(torch.cat(method.project(views)))
    theirs = method.teacher(torch.cat(views)).detach()
    torch.testing.assert_close(method.centre, 0.75 * centre + 0.25 * theirs.mean(0), rtol=1e-3, atol=1e-5)
    wanted = F.softmax((theirs - centre) / 0.04, dim=1).roll(16, 0)
    by_hand = -(wanted * F.log_softmax(answers / 0.1, dim=1)).sum() / 32
    torch.testing.assert_close(loss, by_hand, rtol=1e-3, atol=1e-4)
    found = gradients(method, loss)
    assert not any(name.startswith("teacher") for name in found)


def test_dinos_entropy_tells_one_winning_class_from_an_even_choice():
    method, views = made("dino", "method.prototypes=6", "method.centre_momentum=0.0")
    method.centre[2] = -100
    assert method.loss(views, None, Draws(0, "test"))[1]["target_entropy"] == pytest.approx(0, abs=1e-4)
    method.teacher_temperature = 1e3
    assert method.loss(views, None, Draws(0, "test"))[1]["target_entropy"] == pytest.approx(1, abs=1e-4)


def test_answers_that_would_be_blurred_are_refused():
    with pytest.raises(
        ConfigError, match=r"dino: teacher_temperature=0\.2: must be at most temperature=0\.1, so that it sharpens"
    ):
        made("dino", "method.teacher_temperature=0.2")
