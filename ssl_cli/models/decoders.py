"""Decoders: from features, or maps of them, back to inputs."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Shape

COARSE = 8  # sides up to which features are spread at once
MOST = 8  # times `width`: channels where the maps are smallest


class Decoder(nn.Module):
    """Features spread over a coarse map, then made finer step by step (DCGAN's generator, Radford et al., 2016, figure 1).

    Args:
        inputs: features that come in.
        shape: channels, height, width of what comes out.
        width: channels at full size; twice as many at each halving, up to 8 times.
    """

    def __init__(self, inputs: int, shape: Shape, width: int):
        super().__init__()
        doublings = max(1, math.ceil(math.log2(max(shape[1:]) / COARSE)))
        self.size = tuple(math.ceil(side / 2**doublings) for side in shape[1:])
        channels = width * min(2**doublings, MOST)
        self.spread = nn.Linear(inputs, channels * math.prod(self.size), bias=False)
        self.refine = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), Refinement(channels, self.size, shape, width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs) → logits of pixels (B, C, H, W)."""
        return self.refine(self.spread(features).unflatten(1, (-1, *self.size)))


class Refinement(nn.Module):
    """Maps of twice the sides at each step, cut to the middle of what is wanted.

    Args:
        inputs: channels that come in.
        size: height and width that come in, at most those of `shape`.
        shape: channels, height, width of what comes out.
        width: channels at full size; twice as many at each halving, up to 8 times.
    """

    def __init__(self, inputs: int, size: tuple[int, int], shape: Shape, width: int):
        super().__init__()
        self.shape = shape
        doublings = math.ceil(max(math.log2(full / side) for full, side in zip(shape[1:], size, strict=True)))
        layers: list[nn.Module] = []
        for left in reversed(range(doublings)):
            outputs = width * min(2**left, MOST)
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.Conv2d(inputs, shape[0], 3, padding=1))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, *size) → logits of pixels (B, C, H, W)."""
        fine = self.layers(maps)
        top, left = ((have - want) // 2 for have, want in zip(fine.shape[2:], self.shape[1:], strict=True))
        return F.pad(fine, (-left, left + self.shape[2] - fine.shape[3], -top, top + self.shape[1] - fine.shape[2]))
