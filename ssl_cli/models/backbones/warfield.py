"""The article's backbone."""

import itertools

from torch import nn

from ssl_cli.config.schema import Shape
from ssl_cli.models.backbones.base import Backbone


def warfield(shape: Shape) -> Backbone:
    """Three unpadded 3×3 convolutions of 16, 16 and 32 channels, each followed by a 2×2 max-pooling.

    From 28×28 pixels one position is left, so average pooling equals the article's flattening: 32 features.
    ReLU follows the pooling: the same function at a quarter of the cost.
    """
    widths = (shape[0], 16, 16, 32)
    return Backbone([_stage(i, o) for i, o in itertools.pairwise(widths)], channels=32, shape=shape, at_least=22)


def _stage(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3), nn.MaxPool2d(2), nn.ReLU(inplace=True))
