import pytest
import torch

from ssl_cli.config.build import build
from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.errors import ConfigError
from ssl_cli.methods.mae import MAE, masked_mse, patchify, unpatchify
from ssl_cli.randomness import Draws
from ssl_cli.stages.networks import pretraining_method

SMALL = ("backbone=vit", "backbone.width=16", "backbone.depth=2", "backbone.heads=2", "method.width=16")


def made(*overrides: str) -> MAE:
    config = from_overrides("method=mae", "dataset=synthetic", *SMALL, *overrides)
    return pretraining_method(config, load(config.dataset))


def view(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def test_cutting_is_undone_and_numbers_patches_row_by_row():
    images = torch.rand(2, 3, 8, 12)
    patches = patchify(images, 4)
    assert torch.equal(unpatchify(patches, 4, (2, 3)), images)
    assert torch.equal(patches[:, 4].reshape(2, 3, 4, 4), images[:, :, 4:, 4:8])


@pytest.mark.parametrize(("share", "hidden"), [(0.75, 37), (0.5, 24)])
def test_the_hidden_share_is_exact_and_drawn_for_each_input(share, hidden):
    seen, under = made(f"method.mask_ratio={share}").draw_mask(6, Draws(0, "test"))
    assert under.shape == (6, hidden)
    assert all(sorted(row) == list(range(49)) for row in torch.cat([seen, under], dim=1).tolist())
    assert len({tuple(sorted(row)) for row in under.tolist()}) == 6


def test_hiding_everything_is_refused_where_the_shape_was_not_known_before():
    config = from_overrides("method=mae", *SMALL)
    backbone = build(config.backbone, shape=(1, 4, 4))
    with pytest.raises(ConfigError, match=r"mae: mask_ratio=0\.75: masks 1 of 1 patches"):
        build(config.method, backbone=backbone, shape=(1, 4, 4), scale=1.0)


def test_hidden_pixels_do_not_reach_the_network():
    method, inputs = made(), view()
    seen, hidden = method.draw_mask(4, Draws(0, "test"))
    pixels = patchify(inputs, 4)
    other = unpatchify(pixels.scatter(1, hidden[..., None].expand(-1, -1, 16), 0.3), 4, (7, 7))
    assert not torch.equal(other, inputs)
    assert torch.equal(method.reconstruct(inputs, seen), method.reconstruct(other, seen))


def test_only_hidden_patches_count():
    predicted, wanted, hidden = torch.rand(2, 5, 3), torch.rand(2, 5, 3), torch.tensor([[0, 4], [2, 1]])
    by_hand = sum(
        (predicted[item, patch] - wanted[item, patch]).square().sum() for item in range(2) for patch in hidden[item].tolist()
    ) / (2 * 2 * 3)  # fmt: skip
    torch.testing.assert_close(masked_mse(predicted, wanted, hidden), by_hand)
    spoilt = predicted.clone()
    spoilt[0, 1:4], spoilt[1, [0, 3, 4]] = 9, 9
    assert masked_mse(spoilt, wanted, hidden) == masked_mse(predicted, wanted, hidden)


def test_everything_in_it_trains():
    method = made()
    method.loss((view(),), None, Draws(0, "test"))[0].backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in method.parameters())


@pytest.mark.parametrize("normalise", ["false", "true"])
def test_the_range_of_pixels_does_not_matter_to_what_is_wanted(normalise):
    errors = []
    for scale in (1, 255):
        method = made(f"augment.scale={scale}", f"method.normalise_targets={normalise}")
        for parameter in method.predict.parameters():
            torch.nn.init.zeros_(parameter)
        errors.append(method.loss((scale * view(),), None, Draws(0, "test"))[0].item())
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)
    # Nothing is predicted, so the error is the mean square of what is wanted: of [0, 1) it is 1/3, of normalised patches 15/16.
    assert errors[0] == pytest.approx(15 / 16 if normalise == "true" else 1 / 3, rel=0.05)


@pytest.mark.parametrize("normalise", ["false", "true"])
def test_pictures_show_what_is_seen_as_it_was(normalise):
    method, inputs = made("augment.scale=255", f"method.normalise_targets={normalise}"), 255 * view()
    shown = method.pictures((inputs,), Draws(0, "test"))
    assert list(shown) == ["view", "masked", "reconstructed"]
    assert torch.equal(shown["view"], inputs)
    seen = (patchify(shown["masked"], 4) != 127.5).all(2)
    assert seen.sum(1).tolist() == [12] * 4
    for name in ("masked", "reconstructed"):
        assert torch.equal(patchify(shown[name], 4)[seen], patchify(inputs, 4)[seen])
    assert shown["reconstructed"].min() >= 0
    assert shown["reconstructed"].max() <= 255
    assert not torch.equal(patchify(shown["reconstructed"], 4)[~seen], patchify(inputs, 4)[~seen])


def test_what_is_hidden_is_learnt_from_what_is_seen():
    method = made("method.mask_ratio=0.5")
    shades = torch.linspace(0, 1, 16).view(16, 1, 1, 1).expand(-1, 1, 28, 28)
    optimiser = torch.optim.Adam(method.parameters(), lr=0.01)
    torch.manual_seed(0)
    for step in range(40):
        optimiser.zero_grad()
        loss, _ = method.loss((shades,), None, Draws(0, "test", step))
        loss.backward()
        optimiser.step()
    assert loss < 0.3 * shades.var()  # the best answer without looking would cost the variance
