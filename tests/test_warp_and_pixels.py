"""Against torchvision's functional operators at equal parameters."""

import pytest
import torch
from torch import tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from ssl_cli.augment import pixels, warp

IMAGES = torch.rand(2, 3, 28, 20, generator=torch.Generator().manual_seed(0))
SIZE = (28, 20)


def each(step, *parameters):
    return torch.stack([step(image, *values) for image, *values in zip(IMAGES, *parameters, strict=True)])


def assert_close(ours, theirs, tolerance=2e-5):
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


def test_affine_with_rotation_shift_scale_and_shear_a_sample():
    matrices = warp.affine(
        tensor([30.0, -20.0]), tensor([3.0, 0.0]), tensor([-2.0, 1.0]), tensor([1.2, 0.7]), tensor([10.0, -15.0])
    )
    theirs = each(
        lambda image, angle, shift, scale, shear: reference.affine(
            image, angle, shift, scale, shear, interpolation=InterpolationMode.BILINEAR
        ),
        [30.0, -20.0], [[3, -2], [0, 1]], [1.2, 0.7], [[10.0, 0.0], [-15.0, 0.0]],
    )  # fmt: skip
    assert_close(warp.resample(IMAGES, matrices, "zeros"), theirs)


def test_perspective():
    corners = warp.corners_of(SIZE) + tensor([[2.0, 3.0], [-1.0, 4.0], [-3.0, -2.0], [1.0, -5.0]])
    ours = warp.resample(IMAGES, warp.perspective(corners.repeat(2, 1, 1), SIZE), "zeros")
    assert_close(ours, reference.perspective(IMAGES, [[0, 0], [19, 0], [19, 27], [0, 27]], corners.tolist()))


def test_resized_crop_away_from_its_edge():
    box = [tensor([float(value)] * 2) for value in (3, 5, 14, 10)]
    ours = warp.resample(IMAGES, warp.crop(*box, SIZE), "border")
    theirs = reference.resized_crop(IMAGES, 3, 5, 14, 10, list(SIZE), antialias=False)
    inner = (..., slice(2, -2), slice(2, -2))  # at its edge torchvision repeats the crop's last pixel, we look beyond
    assert_close(ours[inner], theirs[inner])


def test_flip():
    assert_close(warp.resample(IMAGES, warp.flip(2), "zeros"), reference.horizontal_flip(IMAGES))


def test_steps_composed_into_one_resampling_equal_the_same_steps_in_a_row():
    """Exactly so where the steps meet pixel centres: a mirror, then a shift by whole pixels."""
    still = torch.zeros(2)
    shift = warp.affine(still, tensor([3.0, 3.0]), tensor([-2.0, -2.0]), torch.ones(2), still)
    at_once = warp.resample(IMAGES, warp.flip(2) @ shift, "zeros")
    in_a_row = warp.resample(warp.resample(IMAGES, warp.flip(2), "zeros"), shift, "zeros")
    assert_close(at_once, in_a_row)
    other_order = warp.resample(IMAGES, shift @ warp.flip(2), "zeros")
    assert not torch.allclose(at_once, other_order, atol=0.1)


@pytest.mark.parametrize(
    ("ours", "theirs", "strengths"),
    [
        (pixels.brightness, reference.adjust_brightness, [1.4, 0.3]),
        (pixels.contrast, reference.adjust_contrast, [1.4, 0.3]),
        (pixels.saturation, reference.adjust_saturation, [1.4, 0.3]),
        (pixels.hue, reference.adjust_hue, [0.2, -0.4]),
    ],
)
def test_colour(ours, theirs, strengths):
    assert_close(ours(IMAGES, tensor(strengths)), each(theirs, strengths))


def test_contrast_of_grey_images():
    grey = IMAGES[:, :1]
    theirs = torch.stack([reference.adjust_contrast(grey[0], 1.4), reference.adjust_contrast(grey[1], 0.3)])
    assert_close(pixels.contrast(grey, tensor([1.4, 0.3])), theirs)


def test_grey():
    assert_close(pixels.grey(IMAGES), reference.rgb_to_grayscale(IMAGES, 3))


def test_solarise():
    assert_close(pixels.solarise(IMAGES, 0.4), reference.solarize(IMAGES, 0.4))


@pytest.mark.parametrize("kernel", [3, 7])
def test_gaussian_blur(kernel):
    theirs = each(lambda image, sigma: reference.gaussian_blur(image, [kernel] * 2, [sigma] * 2), [0.5, 2.0])
    assert_close(pixels.gaussian_blur(IMAGES, kernel, tensor([0.5, 2.0])), theirs)


def test_erase():
    ours = pixels.erase(IMAGES, *(tensor(pair) for pair in ([3.0, 1.0], [4.0, 2.0], [5.0, 6.0], [7.0, 8.0])))
    theirs = each(lambda image, *box: reference.erase(image, *box, tensor(0.0)), [3, 1], [4, 2], [5, 6], [7, 8])
    assert_close(ours, theirs)
