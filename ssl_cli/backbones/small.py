"""A small backbone with batch norm, for small images on small machines."""

from typing import Annotated

from torch import nn

from ssl_cli.backbones.base import ConvNet
from ssl_cli.schema import Count, Shape


def small(shape: Annotated[Shape, "[8, inf)"], width: Count) -> ConvNet:
    """A strided 5×5 convolution, then three of 3×3, two of them strided; `width` to 8 · `width` channels."""
    return ConvNet(
        [
            _stage(shape[0], width, kernel=5, stride=2),
            _stage(width, 2 * width, kernel=3, stride=2),
            _stage(2 * width, 4 * width, kernel=3, stride=2),
            _stage(4 * width, 8 * width, kernel=3, stride=1),
        ],
        dim=8 * width,
    )


def _stage(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
