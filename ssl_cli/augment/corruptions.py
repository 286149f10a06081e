"""Corruptions of test images that training did not show, at a strength that grows from 0, which changes nothing.

They follow common corruptions of photographs (Hendrycks and Dietterich, 2019), in units that suit inputs of any size. Images are
float (B, C, H, W) in [0, 1]. Random numbers come from `source` alone, whatever the strength and the device, so that a stronger
corruption is the same one, stronger, and every network sees the same inputs.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ssl_cli.augment import pixels, warp
from ssl_cli.augment.views import encode

Corruption = Callable[[Tensor, float, torch.Generator], Tensor]


def noise(images: Tensor, strength: float, source: torch.Generator) -> Tensor:
    """Gaussian noise on every pixel; `strength` is its standard deviation, with pixels in 0–1."""
    drawn = torch.randn(images.shape, generator=source).to(images.device)
    return (images + strength * drawn).clamp_(0, 1)


def blur(images: Tensor, strength: float, _source: torch.Generator) -> Tensor:
    """Gaussian blur; `strength` is its standard deviation in pixels."""
    widest = 2 * min(images.shape[-2:]) - 1
    kernel = min(2 * math.ceil(3 * strength) + 1, widest)
    return pixels.gaussian_blur(images, kernel, _same(strength, images))


def contrast(images: Tensor, strength: float, _source: torch.Generator) -> Tensor:
    """Contrast reduced by the fraction `strength`, towards the image's mean grey."""
    return pixels.contrast(images, _same(1 - strength, images))


def rotation(images: Tensor, strength: float, source: torch.Generator) -> Tensor:
    """Rotation by `strength` degrees, in a direction drawn for each image; the corners become black."""
    side = (torch.randint(2, (len(images),), generator=source) * 2.0 - 1).to(images.device)
    still, full = _same(0.0, images), _same(1.0, images)
    return warp.resample(images, warp.affine(side * strength, still, still, full, still), "zeros")


def inversion(images: Tensor, strength: float, _source: torch.Generator) -> Tensor:
    """Interpolation between the image and its negative: at 0.5 all is grey, at 1 it is the negative."""
    return images + strength * (1 - 2 * images)


def _same(value: float, images: Tensor) -> Tensor:
    return torch.full((len(images),), value, device=images.device)


CORRUPTIONS: dict[str, Corruption] = {
    "noise": noise,
    "blur": blur,
    "contrast": contrast,
    "rotation": rotation,
    "inversion": inversion,
}


def corrupted(images: Tensor, name: str, strength: float, source: torch.Generator) -> Tensor:
    """Images, uint8 or float in 0–1, corrupted: float (B, C, H, W) in 0–1."""
    return CORRUPTIONS[name](encode(images, 1.0), strength, source)
