"""What test inputs may suffer that training did not show: each shift at a strength that grows from 0, the input as it is.

The kinds follow common corruptions of photographs (Hendrycks and Dietterich, 2019), in units that any size of input has.
Images are float (B, C, H, W) in [0, 1]. What is drawn depends on `source` alone and not on the strength or the device, so
that a stronger shift is the same one, stronger, and every network meets the same inputs.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ssl_cli.augment import pixels, warp

Shift = Callable[[Tensor, float, torch.Generator], Tensor]


def noise(images: Tensor, strength: float, source: torch.Generator) -> Tensor:
    """A normal number added to every pixel; `strength` is its deviation, in shares of the range of a pixel."""
    drawn = torch.randn(images.shape, generator=source).to(images.device)
    return (images + strength * drawn).clamp_(0, 1)


def blur(images: Tensor, strength: float, _source: torch.Generator) -> Tensor:
    """Gaussian; `strength` is its deviation in pixels."""
    widest = 2 * min(images.shape[-2:]) - 1
    kernel = min(2 * math.ceil(3 * strength) + 1, widest)
    return pixels.gaussian_blur(images, kernel, _same(strength, images))


def contrast(images: Tensor, strength: float, _source: torch.Generator) -> Tensor:
    """Every pixel this share of the way to the image's mean grey."""
    return pixels.contrast(images, _same(1 - strength, images))


def rotation(images: Tensor, strength: float, source: torch.Generator) -> Tensor:
    """Turned by `strength` degrees, to a side drawn for each image; black comes in at the corners."""
    side = (torch.randint(2, (len(images),), generator=source) * 2.0 - 1).to(images.device)
    still, full = _same(0.0, images), _same(1.0, images)
    return warp.resample(images, warp.affine(side * strength, still, still, full, still), "zeros")


def inversion(images: Tensor, strength: float, _source: torch.Generator) -> Tensor:
    """Every pixel this share of the way to its opposite: at 0.5 all is grey, at 1 black is white."""
    return images + strength * (1 - 2 * images)


def _same(value: float, images: Tensor) -> Tensor:
    return torch.full((len(images),), value, device=images.device)


SHIFTS: dict[str, Shift] = {
    "noise": noise,
    "blur": blur,
    "contrast": contrast,
    "rotation": rotation,
    "inversion": inversion,
}
