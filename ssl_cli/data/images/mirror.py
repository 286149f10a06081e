"""Are mirrored images as good as the images themselves? Asked of the images alone."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.data.types import Rows

FEWEST, MOST = 200, 1000  # images that are compared: with fewer, chance decides
SIDE = 16  # pixels that they are averaged to
SAME = 1.02  # the largest ratio that counts as none


def sampled(images: Rows) -> Tensor:
    """At most `MOST` of the images, evenly spaced: (N, C, H, W) → uint8 (M, C, H, W)."""
    return images[torch.linspace(0, len(images) - 1, min(len(images), MOST)).long()]


def mirror_ratio(images: Rows) -> float | None:
    """How much farther mirrored images are from the nearest of the other images than unmirrored ones: 1 is not at all.

    The median, over images, of one distance divided by the other. Images are averaged over channels and to 16 × 16 pixels, and
    each is standardised, so that brightness does not count. Measured on 1,000 training images: photographs (CIFAR-10) 1.00,
    digits 1.45, letters 1.71.

    Args:
        images: uint8 (N, C, H, W), of which at most 1,000 are looked at.

    Returns:
        None where there are too few to tell, or where most are the same as another.
    """
    if len(images) < FEWEST:
        return None
    small = F.adaptive_avg_pool2d(sampled(images).float().mean(1, keepdim=True), SIDE)
    small = small - small.mean((1, 2, 3), keepdim=True)
    plain, mirrored = (F.normalize(these.flatten(1), eps=1e-6) for these in (small, small.flip(3)))
    usual, flipped = (_nearest_other(these, plain) for these in (plain, mirrored))
    told = usual > 1e-3  # of images that are there twice, the distance is 0
    return float((flipped[told] / usual[told]).median()) if told.float().mean() > 0.5 else None


def _nearest_other(images: Tensor, others: Tensor) -> Tensor:
    """The distance of image i to the nearest of the others but i: (N, D), (N, D) → (N,)."""
    return torch.cdist(images, others).fill_diagonal_(torch.inf).min(1).values


def is_grey(images: Rows) -> bool:
    """Whether images have no colour: one channel, or three that differ by less than 3 of 255 in 99 of 100 images.

    Args:
        images: uint8 (N, C, H, W), of which at most 1,000 are looked at.
    """
    if images.shape[1] != 3:
        return True
    some = sampled(images).float()
    apart = (some - some.mean(1, keepdim=True)).abs().mean((1, 2, 3))
    return float((apart < 3).float().mean()) >= 0.99
