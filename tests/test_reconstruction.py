import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.methods.autoencoder import Autoencoder, mask_pixels
from ssl_cli.methods.base import Method
from ssl_cli.methods.inpainting import ChannelWise, draw_masks, error_weights, fill_with_mean, weighted_mse
from ssl_cli.models.critic import critic_loss, generator_loss
from ssl_cli.models.decoders import Decoder, Refinement
from ssl_cli.randomness import Draws
from ssl_cli.runs.run import Run
from ssl_cli.stages.networks import fresh_backbone, pretraining_method
from ssl_cli.stages.pretrain import pretrain


def made(*overrides: str) -> Method:
    config = from_overrides("dataset=synthetic", "backbone.width=4", "method.width=4", *overrides)
    return pretraining_method(config, load(config.dataset))


def trained(method: Method, view: Tensor, steps: int) -> list[float]:
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(method.parameters(), lr=0.01)
    losses = []
    for step in range(steps):
        optimiser.zero_grad()
        loss, _ = method.loss((view,), None, Draws(0, "test", step))
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def strokes(count: int = 16) -> Tensor:
    """Bars, each somewhere else: what is seen of one tells all of it."""
    view = torch.zeros(count, 1, 28, 28)
    for number, image in enumerate(view):
        image[0, :, 4 + number : 7 + number] = 1
    return view


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 96, 96), (2, 9, 21), (1, 22, 8)])
def test_decoders_give_inputs_of_any_shape(shape):
    assert Decoder(10, shape, 2)(torch.rand(3, 10)).shape == (3, *shape)
    size = (shape[1] // 3, shape[2] // 5)
    assert Refinement(4, size, shape, 2)(torch.rand(3, 4, *size)).shape == (3, *shape)


def test_masking_takes_whole_pixels_and_leaves_the_others():
    images = 0.1 + torch.rand(8, 3, 20, 20)
    seen = mask_pixels(images, 0.3, Draws(0, "test"))
    gone = seen == 0
    assert gone.float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert torch.equal(gone.all(1), gone.any(1))
    assert torch.equal(seen[~gone], images[~gone])
    assert mask_pixels(images, 0.0, Draws(0, "test")) is images


def test_the_error_is_against_the_whole_input():
    method = made("method=autoencoder", "method.noise=1.0")  # nothing is seen, so the best answer is the same for all
    for parameter in method.decoder.refine[-1].layers[-1].parameters():
        nn.init.zeros_(parameter)
    view = torch.rand(8, 1, 28, 28)
    loss, numbers = method.loss((view,), None, Draws(0, "test"))
    assert loss.item() == pytest.approx((view - 0.5).square().mean().item(), abs=1e-6)
    assert numbers["squared_error"] == loss


def test_pixels_as_probabilities_have_the_cross_entropy_of_one_half_at_first():
    method = made("method=autoencoder", "method.error=cross_entropy")
    for parameter in method.decoder.refine[-1].layers[-1].parameters():
        nn.init.zeros_(parameter)
    loss, _ = method.loss((torch.rand(8, 1, 28, 28),), None, Draws(0, "test"))
    assert loss.item() == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-6)


def test_the_range_of_pixels_does_not_matter_to_the_error():
    small, large = (made("method=autoencoder", "method.noise=0", f"augment.scale={scale}") for scale in (1, 255))
    view = torch.rand(8, 1, 28, 28)
    small.backbone = large.backbone = nn.Sequential(nn.Flatten(), nn.LazyLinear(64), nn.LayerNorm(64))
    losses = []
    for method, seen in ((small, view), (large, 255 * view)):
        method.backbone(seen)
        losses.append(method.loss((seen,), None, Draws(0, "test"))[0].item())
        assert method.pictures((seen,), Draws(0, "test"))["reconstructed"].max() > 0.3 * method.scale
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("noise", [0.0, 0.25])
def test_an_autoencoder_gives_back_what_it_was_trained_on(noise):
    method, view = made("method=autoencoder", f"method.noise={noise}"), strokes()
    losses = trained(method, view, 80)
    constant = F.mse_loss(view.mean(0, keepdim=True).expand_as(view), view).item()
    assert losses[-1] < 0.3 * constant < losses[0]
    assert method.pictures((view,), Draws(0, "test")).keys() == {
        "view",
        "reconstructed",
        *(["masked"] if noise else []),
    }


class Linearly(nn.Linear):
    """A linear map onto inputs of a shape, behind which a sigmoid changes nothing."""

    def forward(self, code: Tensor) -> Tensor:
        return super().forward(code).clamp(0.01, 0.99).logit().view(-1, 1, 2, 3)


def test_a_linear_autoencoder_leaves_what_principal_components_leave():
    torch.manual_seed(0)
    view = (
        0.5 + 0.1 * torch.randn(400, 2) @ torch.linalg.qr(torch.randn(6, 2))[0].T + 0.03 * torch.randn(400, 6)
    ).view(-1, 1, 2, 3)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    encoder.dim = 2
    method = Autoencoder(encoder, (1, 2, 3), 1.0, 0.0, "squared", 2)
    method.decoder = Linearly(2, 6)
    nn.init.constant_(method.decoder.bias, 0.5)
    losses = trained(method, view, 1500)
    rising = torch.linalg.eigvalsh(view.flatten(1).T.cov(correction=0))
    assert min(losses) == pytest.approx(rising[:4].sum().item() / 6, rel=1e-2)
    assert losses[0] > 2 * losses[-1]


def holed(*overrides: str) -> Method:
    return made("method=inpainting", *overrides)


@pytest.mark.parametrize("kind", ["central", "random"])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_holes_take_their_share_of_the_input(kind, share):
    under = draw_masks(torch.rand(6, 3, 28, 32), kind, share, Draws(0, "test"))
    assert under.shape == (6, 1, 28, 32)
    assert set(under.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(under.mean((1, 2, 3)), torch.full((6,), share), atol=0.02, rtol=0)
    if kind == "central":
        assert torch.equal(under, under.flip(2, 3))
    else:
        assert not torch.equal(under[0], under[1])
        # In regions, not in grains: neighbours are nearly always alike.
        assert (under[..., 1:] == under[..., :-1]).float().mean() > 0.85


def test_the_encoder_does_not_see_what_is_under_a_hole():
    view, other = torch.rand(4, 3, 28, 28), torch.rand(4, 3, 28, 28)
    under = draw_masks(view, "random", 0.25, Draws(0, "test"))
    assert torch.equal(fill_with_mean(view, under), fill_with_mean(torch.where(under > 0, other, view), under))
    assert torch.equal(fill_with_mean(view, under)[under.expand_as(view) == 0], view[under.expand_as(view) == 0])
    inside = fill_with_mean(view, under)[0, 1][under[0, 0] > 0]
    torch.testing.assert_close(inside, view[0, 1][under[0, 0] == 0].mean().expand_as(inside))


def test_only_what_is_under_a_hole_counts():
    guess, view = torch.rand(4, 3, 8, 8), torch.rand(4, 3, 8, 8)
    under = draw_masks(view, "central", 0.25, Draws(0, "test"))
    error = weighted_mse(guess, view, under)
    assert weighted_mse(guess, torch.where(under > 0, view, 9.0), under) == error
    assert error.item() == pytest.approx((guess - view)[..., 2:6, 2:6].square().mean().item(), abs=1e-6)


@pytest.mark.parametrize("kind", ["central", "random"])
def test_an_error_at_the_edge_of_a_hole_counts_more_and_one_beyond_nothing(kind):
    view, guess = torch.rand(4, 3, 16, 16), torch.rand(4, 3, 16, 16)
    under = draw_masks(view, kind, 0.2, Draws(0, "test"))
    weights = error_weights(under, 2, 10.0)
    assert torch.equal(error_weights(under, 0, 10.0), under)
    assert torch.equal(weights == 1, under == 1)
    for image, hole in zip(weights[:, 0], under[:, 0], strict=True):
        inside = hole.nonzero()
        away = (torch.cartesian_prod(torch.arange(16), torch.arange(16))[:, None] - inside).abs().amax(2).amin(1)
        assert torch.equal(image.flatten() == 10, (away > 0) & (away <= 2))
    error = weighted_mse(guess, view, weights)
    assert weighted_mse(torch.where(weights > 0, guess, 9.0), view, weights) == error
    assert weighted_mse(torch.where(weights == 10, view, guess), view, weights) < error
    assert error.item() == pytest.approx(((guess - view).square().mean(1, True) * weights).sum() / weights.sum())


def test_the_edge_is_in_the_loss_and_the_error_of_the_hole_is_logged():
    view = torch.rand(8, 1, 28, 28)
    plain, edged = (holed("method.mask=central", f"method.overlap={overlap}") for overlap in (0, 2))
    (loss, numbers), (wider, same) = (method.loss((view,), None, Draws(0, "test")) for method in (plain, edged))
    assert numbers["masked_error"] == same["masked_error"] == loss
    assert wider != loss
    predicted, under = (
        edged._inpaint(view, draw_masks(view, "central", 0.25, Draws(0, "test"))),
        draw_masks(view, "central", 0.25, Draws(0, "test")),
    )
    torch.testing.assert_close(wider, weighted_mse(predicted, view, error_weights(under, 2, 10.0)))


def test_a_critic_alone_teaches_the_painter():
    method, view = holed("method.adversarial=1.0", "method.mask=central"), torch.rand(8, 1, 28, 28)
    loss, _ = method.loss((view,), None, Draws(0, "test"))
    loss.backward()
    under = draw_masks(view, "central", method.mask_ratio, Draws(0, "test"))
    real, made_up = (method.critic(shown * under) for shown in (view, method._inpaint(view, under)))
    torch.testing.assert_close(loss, generator_loss(made_up) + critic_loss(real, made_up))  # and no squared error
    assert method.backbone.stages[0][0].weight.grad.abs().sum() > 0


def test_a_channel_of_the_middle_layer_depends_on_that_channel_alone():
    layer, maps = ChannelWise(5, 9), torch.rand(2, 5, 3, 3)
    assert sum(parameter.numel() for parameter in layer.parameters()) == 5 * 9**2
    changed = maps.clone()
    changed[:, 3] += torch.rand(2, 3, 3)
    moved = (layer(maps) != layer(changed)).flatten(2)
    assert moved[:, 3].all()
    assert not moved[:, [0, 1, 2, 4]].any()
    # Every position of it depends on all of that channel.
    corner = maps.clone()
    corner[:, 3, 0, 0] += 1
    assert (layer(maps) != layer(corner))[:, 3].all()


@pytest.mark.parametrize("backbone", ["small", "warfield", "resnet18"])
def test_a_fresh_inpainter_has_a_fresh_backbone(backbone):
    config = from_overrides("dataset=synthetic", "method=inpainting", f"backbone={backbone}")
    dataset = load(config.dataset)
    method, fresh = pretraining_method(config, dataset), fresh_backbone(config, dataset)
    assert all(torch.equal(value, method.backbone.state_dict()[key]) for key, value in fresh.state_dict().items())
    assert method.pictures((torch.rand(2, 1, 28, 28),), Draws(0, "test"))["inpainted"].shape == (2, 1, 28, 28)


def test_without_an_adversary_the_loss_is_the_error_under_the_hole():
    method, view = holed("method.adversarial=0", "method.mask=central"), torch.rand(8, 1, 28, 28)
    loss, numbers = method.loss((view,), None, Draws(0, "test"))
    assert loss == numbers["masked_error"]
    assert numbers.keys() == {"masked_error"}
    shown = method.pictures((view,), Draws(0, "test"))
    assert torch.equal(shown["view"][..., :7, :], shown["inpainted"][..., :7, :])
    assert not torch.equal(shown["view"][..., 14, 14], shown["inpainted"][..., 14, 14])


@pytest.mark.parametrize("kind", ["central", "random"])
def test_holes_are_filled_as_was_learnt(kind):
    method, view = holed(f"method.mask={kind}", "method.adversarial=0"), strokes()
    losses = trained(method, view, 60)
    assert losses[-1] < 0.3 * losses[0]


def test_inpainter_and_critic_each_follow_their_own_loss():
    method, view = holed("method.adversarial=0.3", "method.mask=central"), torch.rand(8, 1, 28, 28)
    loss, numbers = method.loss((view,), None, Draws(0, "test"))
    loss.backward()
    assert 0 <= numbers["pretext_accuracy"] <= 1
    under = draw_masks(view, "central", method.mask_ratio, Draws(0, "test"))
    predicted = method._inpaint(view, under)
    real, made_up = method.critic(view * under), method.critic(predicted * under)
    inpainters = [*method.backbone.parameters(), *method.decoder.parameters()]
    judges = list(method.critic.parameters())
    pleasing = 0.7 * weighted_mse(predicted, view, under) + 0.3 * generator_loss(made_up)
    for own, parameters in ((pleasing, inpainters), (critic_loss(real, made_up), judges)):
        alone = torch.autograd.grad(own, parameters, retain_graph=True)
        for parameter, gradient in zip(parameters, alone, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-3)
    assert sum(gradient.abs().sum() for gradient in alone) > 0


@pytest.mark.parametrize(("method", "number"), [("autoencoder", "squared_error"), ("inpainting", "masked_error")])
def test_pictures_are_drawn_and_the_error_logged(smoke, method, number):
    config, run = smoke(f"method={method}", "stage=pretrain")
    pretrain(config, run)
    assert f'"{number}"' in (run.folder / "metrics.jsonl").read_text()
    assert (run.folder / "pretext.png").stat().st_size > 1000


def test_a_run_resumed_after_its_last_step_draws_the_same_picture(smoke):
    config, run = smoke("method=inpainting", "stage=pretrain")
    pretrain(config, run)
    first = (run.folder / "pretext.png").read_bytes()
    for name in ("pretext.png", "result.json"):
        (run.folder / name).unlink()
    torch.manual_seed(99)
    pretrain(config, Run(run.folder, config))
    assert (run.folder / "pretext.png").read_bytes() == first
