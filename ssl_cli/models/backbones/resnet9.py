"""ResNet-9, for small photographs on few processor cores."""

from torch import Tensor, nn

from ssl_cli.config.schema import Count, Shape
from ssl_cli.models.backbones.base import Backbone

LARGE = 48  # pixels of the shorter side, from which on the first convolution strides


def resnet9(shape: Shape, width: Count) -> Backbone:
    """The ResNet-9 of D. Page ("How to train your ResNet", 2018) in any width, without its classifier: 8 · `width` features.

    Convolutions of `width`, 2 · `width`, 4 · `width` and 8 · `width` channels, the last three max-pooled, a residual block of two
    more (He et al., 2016) behind the second and the fourth; then average pooling. His `width` is 64.

    Args:
        shape: channels, height, width of the inputs.
        width: channels of the first convolution.
    """
    stride = 2 if min(shape[1:]) >= LARGE else 1
    return Backbone(
        [
            nn.Sequential(
                _convolution(shape[0], width, stride),
                _convolution(width, 2 * width),
                nn.MaxPool2d(2),
                _Residual(2 * width),
            ),
            nn.Sequential(_convolution(2 * width, 4 * width), nn.MaxPool2d(2)),
            nn.Sequential(_convolution(4 * width, 8 * width), nn.MaxPool2d(2), _Residual(8 * width)),
        ],
        channels=8 * width,
        shape=shape,
        at_least=8,
    )


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    """Two 3×3 convolutions beside a shortcut, with no activation after the sum."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.second(self.first(inputs))
