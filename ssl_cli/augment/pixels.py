"""Colour, blur and erasing, with a strength for each image of the batch.

Images are float (B, C, H, W) in [0, 1]; strengths are (B,). Each function agrees with torchvision's of that name.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)


def _each(strength: Tensor) -> Tensor:
    return strength.view(-1, 1, 1, 1)


def _blend(images: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    weight = _each(weight)
    return (images * weight).add_(other * (1 - weight)).clamp_(0, 1)


def grey(images: Tensor) -> Tensor:
    """Luma in every channel; images with one channel are unchanged."""
    if images.shape[1] == 1:
        return images
    luma = (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return luma.expand_as(images)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by `factor`: 0 gives black, 1 the image."""
    return (images * _each(factor)).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Interpolate with the image's mean grey: 0 gives the mean, 1 the image."""
    return _blend(images, grey(images).mean((1, 2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Interpolate with the grey image: 0 gives grey, 1 the image."""
    return _blend(images, grey(images), factor)


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """Rotate hues by a fraction of the colour circle, −0.5 to 0.5; needs three channels."""
    high, which = images.max(1)
    low = images.min(1).values
    spread = high - low
    safe = torch.where(spread == 0, torch.ones_like(spread), spread)
    red, green, blue = images.unbind(1)
    sector = torch.where(
        which == 0, (green - blue) / safe, torch.where(which == 1, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    sector = (sector / 6 + turn.view(-1, 1, 1)).remainder(1) * 6
    # Each channel is a trapezoid over the circle, shifted by a third of it.
    shifts = images.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)
    position = (shifts + sector[:, None]).remainder(6)
    falloff = torch.minimum(position, 4 - position).clamp(0, 1)
    return high[:, None] - spread[:, None] * falloff


def solarise(images: Tensor, threshold: float) -> Tensor:
    """Invert pixels at or above the threshold."""
    return torch.where(images >= threshold, 1 - images, images)


def gaussian_blur(images: Tensor, kernel: int, *sigmas: Tensor) -> Tensor:
    """Separable Gaussian blur with reflection padding, once for each of `sigmas`; a sigma of 0 leaves its image unchanged.

    `kernel` is in pixels, odd, no wider than twice the image's side less one.
    """
    height, width = images.shape[-2:]
    down = _blur_along(height, kernel, sigmas)[:, None]
    across = down if width == height else _blur_along(width, kernel, sigmas)[:, None]
    return down @ images @ across.transpose(2, 3)


def _blur_along(side: int, kernel: int, sigmas: tuple[Tensor, ...]) -> Tensor:
    """All blurs of a line of pixels, as one matrix: (B, side, side).

    One matrix product per axis costs the same for every sigma; a grouped convolution with weights for each image does
    not, since it must be planned anew for every number of images.
    """
    sources = _mirrored(side, kernel, sigmas[0].device)
    offsets = torch.arange(kernel, device=sources.device) - kernel // 2

    def one(sigma: Tensor) -> Tensor:
        weights = torch.exp(-0.5 * (offsets / sigma.clamp_min(1e-3)[:, None]) ** 2)
        weights = weights / weights.sum(1, keepdim=True)
        return (weights @ sources).view(-1, side, side)

    total = one(sigmas[0])
    for sigma in sigmas[1:]:
        total = one(sigma) @ total
    return total


@functools.lru_cache(maxsize=8)
def _mirrored(side: int, kernel: int, device: torch.device) -> Tensor:
    """Which pixel is at each offset from each pixel of a line, with reflection, one-hot: (kernel, side · side)."""
    position = (torch.arange(side)[None] + torch.arange(kernel)[:, None] - kernel // 2).abs()
    position = (side - 1) - ((side - 1) - position).abs()
    return F.one_hot(position, side).view(kernel, -1).to(device, torch.float32)


def erase(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Set a box, in pixels, to black."""
    y = torch.arange(images.shape[2], device=images.device)
    x = torch.arange(images.shape[3], device=images.device)
    in_rows = (y >= top[:, None]) & (y < (top + height)[:, None])
    in_columns = (x >= left[:, None]) & (x < (left + width)[:, None])
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0)
