from dataclasses import replace

import pytest
import torch

from ssl_cli.augment.views import Views, _Draws
from ssl_cli.config.build import build
from ssl_cli.config.compose import from_overrides
from ssl_cli.randomness import Draws

PLAIN = ("dataset=synthetic", "schedule=smoke")


def views(*overrides: str) -> Views:
    config = from_overrides(*PLAIN, *overrides)
    return build(config.augment.pretrain, scale=config.augment.scale)


def images(count: int = 6, channels: int = 1) -> torch.Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, 28, 28), dtype=torch.uint8, generator=source)


def test_every_sample_and_every_view_has_its_own_draw():
    same = images(1).repeat(4, 1, 1, 1)
    first, second = views("augment=digits")(same, 2, Draws(0, "v"))
    everything = torch.cat([first, second]).flatten(1)
    assert len(torch.unique(everything, dim=0)) == 8


def test_one_draw_a_batch_moves_all_images_alike_and_each_view_differently():
    same = images(1).repeat(4, 1, 1, 1)
    first, second = views("augment=warfield")(same, 2, Draws(0, "v"))
    assert len(torch.unique(first.flatten(1), dim=0)) == 1
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_there_are_as_many_views_as_asked_for(count):
    made = views("augment=digits")(images(), count, Draws(0, "v"))
    assert [view.shape for view in made] == [torch.Size([6, 1, 28, 28])] * count
    assert all(view.dtype == torch.float32 for view in made)


def test_the_same_source_draws_the_same_views():
    one, other = (views("augment=digits")(images(), 2, Draws(7, "v", 3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_without_steps_a_view_is_the_image_in_its_range():
    (view,) = views("augment=none")(images(), 1, Draws(0, "v"))
    torch.testing.assert_close(view, images() / 255)
    (view,) = views("augment=none", "augment.scale=255")(images(), 1, Draws(0, "v"))
    torch.testing.assert_close(view, images().float())


def test_pixels_stay_in_their_range():
    colourful = from_overrides(
        "augment=natural", "dataset=cifar10", "augment.pretrain.blur.p=0.5", "augment.pretrain.solarise.p=0.5",
        "augment.pretrain.erase.p=0.5", "augment.pretrain.affine.p=1", "augment.pretrain.affine.rotation=30",
    )  # fmt: skip
    made = build(colourful.augment.pretrain, scale=1.0)(images(64, channels=3), 2, Draws(0, "v"))
    assert min(view.min() for view in made) >= 0
    assert max(view.max() for view in made) <= 1 + 1e-6


def test_a_step_applies_to_its_share_of_the_samples():
    steps = views("augment=none")
    steps = Views(**{**vars_of(steps), "flip": replace(steps.flip, p=0.3)})
    many = images(2000)
    (made,) = steps(many, 1, Draws(0, "v"))
    changed = ((made - many / 255).abs().flatten(1).max(1).values > 1e-3).float().mean()
    assert 0.25 < changed < 0.35


def vars_of(steps: Views) -> dict:
    names = ("draw", "crop", "flip", "affine", "perspective", "colour", "grey", "blur", "solarise", "erase", "scale")
    return {name: getattr(steps, name) for name in names}


def test_digits_are_never_mirrored():
    config = from_overrides("augment=digits")
    assert config.augment.pretrain.arguments["flip"].p == 0
    assert config.augment.supervised.arguments["flip"].p == 0


def test_views_of_another_resolution_show_the_same_in_fewer_pixels():
    smooth = torch.nn.functional.interpolate(images(4, 3)[:, :, :4, :4].float(), (32, 32), mode="bicubic").clamp(0, 255)
    words = ("augment=natural", "dataset=cifar10", "augment.pretrain.colour.p=0", "augment.pretrain.grey.p=0")
    whole, small = (
        views_of_colour(*words, f"augment.pretrain.resolution={share}")(smooth.byte(), 2, Draws(0, "v"))
        for share in (1, 0.5)
    )
    for large, view in zip(whole, small, strict=True):
        assert view.shape == (4, 3, 16, 16)
        torch.testing.assert_close(view, torch.nn.functional.avg_pool2d(large, 2), atol=0.02, rtol=0)


def test_the_size_of_things_in_views_follows_crops_scale_and_resolution():
    """Against the areas that the drawn transformations really show, in pixels of the view for each of the image."""
    words = (
        "augment=natural",
        "dataset=cifar10",
        "augment.pretrain.crop.p=0.7",
        "augment.pretrain.crop.area=[0.3,1.0]",
    )
    made = views_of_colour(
        *words,
        "augment.pretrain.affine={p:0.5,rotation:0,shift:0,scale:[0.6,1.0],shear:0}",
        "augment.pretrain.resolution=0.8",
    )
    matrices = made._matrices(_Draws(20_000, 1, "sample", Draws(0, "v")), (32, 32))
    drawn = made.resolution / torch.linalg.det(matrices).abs().sqrt()
    assert made.magnification == pytest.approx(float(drawn.mean()), rel=0.01)
    assert views("augment=none").magnification == 1


def test_without_steps_a_view_of_another_resolution_is_the_image_made_smaller():
    (view,) = views("augment=none", "augment.pretrain.resolution=0.5")(images(), 1, Draws(0, "v"))
    assert view.shape == (6, 1, 14, 14)
    torch.testing.assert_close(view.mean((2, 3)), (images() / 255).mean((2, 3)), atol=0.02, rtol=0)


def views_of_colour(*overrides: str) -> Views:
    config = from_overrides(*overrides)
    return build(config.augment.pretrain, scale=config.augment.scale)
