"""ResNets: torchvision's ResNet-18, and the family of SimCLRv2 with its widths and selective kernels."""

from collections import OrderedDict
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Shape
from ssl_cli.models.backbones.base import Backbone

Stem = Literal["auto", "small", "imagenet"]
SMALL_SIDE = 64  # up to here `auto` is the small stem
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet18(shape: Shape, stem: Stem) -> Backbone:
    """ResNet-18 (He et al., 2016) as torchvision has it: 512 features.

    Args:
        shape: channels, height, width of the inputs.
        stem: `imagenet` is 7×7, stride 2, with a pooling; `small` is 3×3, stride 1, without (SimCLR, appendix B.9);
            `auto` is `small` up to 64 pixels a side.
    """
    from torchvision.models import resnet18 as torchvision_resnet18

    network = torchvision_resnet18(weights=None)
    if _is_small(stem, shape):
        first = [_convolution(shape[0], 64, 3), network.bn1, network.relu]
    else:
        first = [_convolution(shape[0], 64, 7, 2), network.bn1, network.relu, network.maxpool]
    stages: list[nn.Module] = [nn.Sequential(*first, network.layer1), network.layer2, network.layer3, network.layer4]
    return Backbone(stages, channels=512, shape=shape, at_least=8)


def resnet(
    shape: Shape,
    depth: Literal[18, 34, 50, 101, 152],
    width: Annotated[float, "[0.125, 4]"],
    selective_kernels: bool,
    stem: Stem,
) -> Backbone:
    """The ResNets of SimCLRv2 (Chen et al., 2020b, section 3 and its code): 512 or, from depth 50 on, 2048 · `width` features.

    The first block of every group has a projection shortcut, and the last batch norm of every block is initialised to zero.

    Args:
        shape: channels, height, width of the inputs.
        depth: layers; from 50 on blocks are bottlenecks.
        width: a factor on all channels.
        selective_kernels: attention over two branches in place of each 3×3 convolution (Li et al., 2019), with the
            stem and the shortcuts of ResNet-D (He et al., 2019); for bottlenecks.
        stem: see `resnet18`.

    Raises:
        ValueError: selective kernels in blocks that are no bottlenecks.
    """
    if selective_kernels and depth < 50:
        raise ValueError(f"selective_kernels=true: depth={depth} has no bottlenecks; use 50, 101 or 152")
    base = round(64 * width)
    network = _stem(shape, base, selective_kernels, _is_small(stem, shape))
    stages: list[nn.Module] = []
    inputs = base
    for group, count in enumerate(BLOCKS[depth]):
        channels = base * 2**group
        blocks = []
        for position in range(count):
            stride = 2 if group > 0 and position == 0 else 1
            block = (
                _Bottleneck(inputs, channels, stride, position == 0, selective_kernels)
                if depth >= 50
                else _Basic(inputs, channels, stride, position == 0)
            )
            blocks.append(block)
            inputs = block.outputs
        before = [("stem", network)] if group == 0 else []
        stages.append(nn.Sequential(OrderedDict([*before, (f"layer{group + 1}", nn.Sequential(*blocks))])))
    return Backbone(stages, channels=inputs, shape=shape, at_least=8)


def torchvision_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A ResNet's weights under the names that torchvision's model of the same shape has, but for its classifier."""
    return {key.split(".", 2)[2].removeprefix("stem."): value for key, value in weights.items()}


def _is_small(stem: Stem, shape: Shape) -> bool:
    return stem == "small" or (stem == "auto" and max(shape[1:]) <= SMALL_SIDE)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    made = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    return made


def _last_norm(channels: int) -> nn.BatchNorm2d:
    """Initialised to zero, so that every block starts as its shortcut."""
    made = nn.BatchNorm2d(channels)
    nn.init.zeros_(made.weight)
    return made


def _stem(shape: Shape, base: int, deep: bool, small: bool) -> nn.Module:
    layers: list[tuple[str, nn.Module]]
    if small:
        layers = [("conv1", _convolution(shape[0], base, 3))]
    elif deep:
        half = base // 2
        layers = [
            ("conv0", _convolution(shape[0], half, 3, 2)), ("bn0", nn.BatchNorm2d(half)), ("relu0", nn.ReLU(inplace=True)),
            ("conv00", _convolution(half, half, 3)), ("bn00", nn.BatchNorm2d(half)), ("relu00", nn.ReLU(inplace=True)),
            ("conv1", _convolution(half, base, 3)),
        ]  # fmt: skip
    else:
        layers = [("conv1", _convolution(shape[0], base, 7, 2))]
    layers += [("bn1", nn.BatchNorm2d(base)), ("relu", nn.ReLU(inplace=True))]
    if not small:
        layers.append(("maxpool", nn.MaxPool2d(3, 2, padding=1)))
    return nn.Sequential(OrderedDict(layers))


class _Basic(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, channels: int, stride: int, projects: bool):
        super().__init__()
        self.outputs = channels
        self.conv1, self.bn1 = _convolution(inputs, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = _convolution(channels, channels, 3), _last_norm(channels)
        self.downsample = _shortcut(inputs, channels, stride, averaged=False) if projects else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        between = F.relu(self.bn1(self.conv1(inputs)), inplace=True)
        return F.relu(self.bn2(self.conv2(between)) + self.downsample(inputs), inplace=True)


class _Bottleneck(nn.Module):
    """1×1, 3×3 (strided) and 1×1 convolutions beside a shortcut; four times as many channels leave it."""

    def __init__(self, inputs: int, channels: int, stride: int, projects: bool, selective: bool):
        super().__init__()
        self.outputs = 4 * channels
        self.conv1, self.bn1 = _convolution(inputs, channels, 1), nn.BatchNorm2d(channels)
        if selective:
            self.selective = _SelectiveKernel(channels, stride)
        else:
            self.conv2, self.bn2 = _convolution(channels, channels, 3, stride), nn.BatchNorm2d(channels)
            self.selective = None
        self.conv3, self.bn3 = _convolution(channels, self.outputs, 1), _last_norm(self.outputs)
        self.downsample = _shortcut(inputs, self.outputs, stride, averaged=selective) if projects else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        between = F.relu(self.bn1(self.conv1(inputs)), inplace=True)
        selective = self.selective
        between = F.relu(self.bn2(self.conv2(between)), inplace=True) if selective is None else selective(between)
        return F.relu(self.bn3(self.conv3(between)) + self.downsample(inputs), inplace=True)


class _SelectiveKernel(nn.Module):
    """Two 3×3 branches, mixed for each channel by attention on their sum (SimCLRv2's simplification of Li et al., 2019)."""

    RATIO, LEAST = 0.0625, 32

    def __init__(self, channels: int, stride: int):
        super().__init__()
        between = max(int(channels * self.RATIO), self.LEAST)
        self.branches = _convolution(channels, 2 * channels, 3, stride)
        self.norm = nn.BatchNorm2d(2 * channels)
        self.squeeze, self.squeeze_norm = _convolution(channels, between, 1), nn.BatchNorm2d(between)
        self.mix = _convolution(between, 2 * channels, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        branches = F.relu(self.norm(self.branches(inputs)), inplace=True).unflatten(1, (2, -1))
        means = branches.sum(1).mean((2, 3), keepdim=True)
        attention = self.mix(F.relu(self.squeeze_norm(self.squeeze(means)), inplace=True))
        return (branches * attention.unflatten(1, (2, -1)).softmax(1)).sum(1)


def _shortcut(inputs: int, outputs: int, stride: int, averaged: bool) -> nn.Module:
    """A 1×1 projection; with `averaged` it is the 2×2 average ahead of it that strides."""
    norm = nn.BatchNorm2d(outputs)
    if averaged:
        return nn.Sequential(_Average(stride), _convolution(inputs, outputs, 1), norm)
    return nn.Sequential(_convolution(inputs, outputs, 1, stride), norm)


class _Average(nn.Module):
    """2×2 means; at the lower and right edge, over the pixels that exist."""

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, inputs: Tensor) -> Tensor:
        if self.stride == 1:  # the mean of an edge with itself is the edge
            return F.avg_pool2d(F.pad(inputs, (0, 1, 0, 1), mode="replicate"), 2, 1)
        return F.avg_pool2d(inputs, 2, self.stride, ceil_mode=True, count_include_pad=False)
