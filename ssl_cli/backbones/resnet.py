"""torchvision's ResNets without their classifiers."""

from typing import Annotated, Literal

from torch import nn

from ssl_cli.backbones.base import ConvNet
from ssl_cli.schema import Shape


def resnet18(shape: Annotated[Shape, "[8, inf)"], stem: Literal["auto", "small", "imagenet"]) -> ConvNet:
    """ResNet-18 (He et al., 2016): 512 features.

    Args:
        shape: channels, height, width of the inputs.
        stem: `imagenet` is 7×7, stride 2, with a pooling; `small` is 3×3, stride 1, without (SimCLR, appendix B.9);
            `auto` is `small` up to 64 pixels a side.
    """
    from torchvision.models import resnet18 as torchvision_resnet18

    network = torchvision_resnet18(weights=None)
    is_small = stem == "small" or (stem == "auto" and max(shape[1:]) <= 64)
    if is_small:
        first = [nn.Conv2d(shape[0], 64, 3, padding=1, bias=False), network.bn1, network.relu]
    else:
        first = [nn.Conv2d(shape[0], 64, 7, 2, padding=3, bias=False), network.bn1, network.relu, network.maxpool]
    nn.init.kaiming_normal_(first[0].weight, mode="fan_out", nonlinearity="relu")
    stages = [nn.Sequential(*first, network.layer1), network.layer2, network.layer3, network.layer4]
    return ConvNet(stages, channels=512)
