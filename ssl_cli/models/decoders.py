"""Decoders: from feature vectors or feature maps back to images."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Shape

LARGEST_START = 8  # sides of the map that the linear layer gives, at most
WIDEST = 8  # channels of the smallest maps, in multiples of `width`


class Decoder(nn.Module):
    """A linear layer to a small map, then transposed convolutions (DCGAN's generator, Radford et al., 2016, figure 1).

    Args:
        inputs: number of input features.
        shape: channels, height, width of the output.
        width: channels at full resolution; doubled at each halving of the sides, up to 8 · `width`.
    """

    def __init__(self, inputs: int, shape: Shape, width: int):
        super().__init__()
        doublings = max(1, math.ceil(math.log2(max(shape[1:]) / LARGEST_START)))
        self.size = tuple(math.ceil(side / 2**doublings) for side in shape[1:])
        channels = width * min(2**doublings, WIDEST)
        self.linear = nn.Linear(inputs, channels * math.prod(self.size), bias=False)
        self.refine = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), Refinement(channels, self.size, shape, width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs) → logits of pixels (B, C, H, W)."""
        return self.refine(self.linear(features).unflatten(1, (-1, *self.size)))


class Refinement(nn.Module):
    """Transposed convolutions that double the sides, then a centre crop (or padding) to the wanted size.

    Args:
        inputs: number of input channels.
        size: height and width of the input maps, at most those of `shape`.
        shape: channels, height, width of the output.
        width: channels at full resolution; doubled at each halving of the sides, up to 8 · `width`.
    """

    def __init__(self, inputs: int, size: tuple[int, int], shape: Shape, width: int):
        super().__init__()
        self.shape = shape
        doublings = math.ceil(max(math.log2(full / side) for full, side in zip(shape[1:], size, strict=True)))
        layers: list[nn.Module] = []
        for left in reversed(range(doublings)):
            outputs = width * min(2**left, WIDEST)
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.layers = nn.Sequential(*layers, nn.Conv2d(inputs, shape[0], 3, padding=1))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, inputs, *size) → logits of pixels (B, C, H, W)."""
        upsampled = self.layers(maps)
        top, left = ((have - want) // 2 for have, want in zip(upsampled.shape[2:], self.shape[1:], strict=True))
        return F.pad(
            upsampled,
            (-left, left + self.shape[2] - upsampled.shape[3], -top, top + self.shape[1] - upsampled.shape[2]),
        )
