"""Colour, blur and erasing, on batches in which every image has its own strength.

Images are float (B, C, H, W) in [0, 1]; strengths are (B,). Each step agrees with torchvision's functional of that name.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)


def _each(strength: Tensor) -> Tensor:
    return strength.view(-1, 1, 1, 1)


def _blend(images: Tensor, other: Tensor, share: Tensor) -> Tensor:
    share = _each(share)
    return (images * share + other * (1 - share)).clamp(0, 1)


def grey(images: Tensor) -> Tensor:
    """Luma in every channel; images with one channel are grey already."""
    if images.shape[1] == 1:
        return images
    luma = (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return luma.expand_as(images)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """0 is black, 1 is the image."""
    return (images * _each(factor)).clamp(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """0 is the image's mean grey, 1 is the image."""
    return _blend(images, grey(images).mean((1, 2, 3), keepdim=True), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """0 is grey, 1 is the image."""
    return _blend(images, grey(images), factor)


def hue(images: Tensor, turn: Tensor) -> Tensor:
    """The colour circle turned by a share of it, −0.5 to 0.5; needs three channels."""
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
    """Pixels at or above the threshold inverted."""
    return torch.where(images >= threshold, 1 - images, images)


def gaussian_blur(images: Tensor, kernel: int, sigma: Tensor) -> Tensor:
    """Separable, mirrored at the edges; `kernel` in pixels, odd, no wider than twice the image's side less one."""
    count, channels, height, width = images.shape
    reach = kernel // 2
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None, None]
    rows = F.pad(images, (reach, reach, reach, reach), mode="reflect").view(1, count * channels, height + 2 * reach, -1)
    rows = F.conv2d(rows, weights, groups=count * channels)
    columns = F.conv2d(rows, weights.transpose(2, 3), groups=count * channels)
    return columns.view(count, channels, height, width)


def erase(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """A box in pixels made black."""
    y = torch.arange(images.shape[2], device=images.device)
    x = torch.arange(images.shape[3], device=images.device)
    in_rows = (y >= top[:, None]) & (y < (top + height)[:, None])
    in_columns = (x >= left[:, None]) & (x < (left + width)[:, None])
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0)
