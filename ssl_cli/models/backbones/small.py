"""A small backbone with batch norm, for small images on small machines."""

from torch import nn

from ssl_cli.config.schema import Count, Shape
from ssl_cli.models.backbones.base import Backbone


def small(shape: Shape, width: Count) -> Backbone:
    """Four 3×3 convolutions of `width` to 4 · `width` channels, the first and third strided.

    Their output is average-pooled to 2×2, since the position of strokes matters for characters: 16 · `width` features.
    Inputs need at least 5 pixels a side, so that the grid's cells differ.
    """
    return Backbone(
        [
            _stage(shape[0], width, stride=2),
            _stage(width, 2 * width, stride=1),
            _stage(2 * width, 4 * width, stride=2),
            _stage(4 * width, 4 * width, stride=1),
        ],
        channels=4 * width,
        shape=shape,
        at_least=5,
        grid=2,
    )


def _stage(inputs: int, outputs: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
