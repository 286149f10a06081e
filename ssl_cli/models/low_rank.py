"""LoRA: a backbone's weights stay as they are, and products of two small matrices beside them are trained (Hu et al., 2021)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """A weight plus `alpha` / `rank` times a product of matrices (section 4.1), which is 0 at first.

    Args:
        weight: (out, …); of a convolution all that is not the first dimension counts as one.
        rank: of the product.
        alpha: how much it counts, in proportion to its rank.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float):
        super().__init__()
        rows, columns = _sides(weight)
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, columns, device=weight.device))
        self.up = nn.Parameter(torch.zeros(rows, rank, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as PyTorch begins linear layers

    def forward(self, weight: Tensor) -> Tensor:
        """The weight as layers use it: the same shape."""
        return weight + self.scale * (self.up @ self.down).view_as(weight)


def add_low_rank(backbone: nn.Module, rank: int, alpha: float) -> list[nn.Module]:
    """Freeze a backbone, and train matrices beside the weights of its linear layers and convolutions.

    Left out are weights that the matrices would not be smaller than, and convolutions within groups of channels.

    Args:
        backbone: on the device on which it is made.
        rank: of the matrices.
        alpha: see `LowRank`.

    Returns:
        its batch norms, which belong in evaluation mode: their weights are frozen, and with them the running statistics that they
        were trained on. Dropout goes on.

    Raises:
        ValueError: the matrices would be smaller than no weight.
    """
    found = [(module, name) for module in backbone.modules() if (name := _weight_name(module))]
    largest = [_largest_rank(getattr(module, name)) for module, name in found]
    if rank > max(largest, default=0):
        most = f"must be at most {max(largest)}" if max(largest, default=0) else "take stage.train=all, head or last"
        raise ValueError(f"the matrices would be no smaller than the weights that they stand beside; {most}")
    backbone.requires_grad_(False)
    for (module, name), own in zip(found, largest, strict=True):
        if rank <= own:
            kind = type(module)
            parametrize.register_parametrization(module, name, LowRank(getattr(module, name), rank, alpha))
            if kind in FORWARD:
                own_class: Any = type(module)  # made by PyTorch for this one module, until the matrices are merged
                own_class.forward = FORWARD[kind]
    return [module for module in backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


@torch.no_grad()
def merge_low_rank(backbone: nn.Module) -> None:
    """Add the matrices to the weights beside them: what is left is the backbone as it was, of other weights."""
    for module in list(backbone.modules()):
        for name in list(getattr(module, "parametrizations", ())):
            if any(isinstance(each, LowRank) for each in module.parametrizations[name]):  # pyright: ignore
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def _weight_name(module: nn.Module) -> str | None:
    """The weight that a module multiplies its inputs by; None where it has none, or it is not the module's own."""
    is_dense = isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    name = "weight" if is_dense else "in_proj_weight" if isinstance(module, nn.MultiheadAttention) else None
    if name is None or getattr(module, name) is None or parametrize.is_parametrized(module, name):
        return None
    return name


def _sides(weight: Tensor) -> tuple[int, int]:
    return weight.shape[0], math.prod(weight.shape[1:])


def _largest_rank(weight: Tensor) -> int:
    """That of the largest matrices that are smaller than a weight."""
    rows, columns = _sides(weight)
    return (rows * columns - 1) // (rows + columns)


# Layers whose weights others read multiply by the sum. Those that are called themselves need not have it, nor its gradient, which
# is as large as the weight: their inputs pass through both and the results are added.


def _linear(layer: Any, inputs: Tensor) -> Tensor:
    weight = layer.parametrizations.weight
    between = weight[0].scale * F.linear(inputs, weight[0].down)  # scaled here, where it is small
    own = F.linear(inputs, weight.original, layer.bias)
    return torch.addmm(own.flatten(0, -2), between.flatten(0, -2), weight[0].up.mT).view_as(own)


def _convolution(layer: Any, inputs: Tensor) -> Tensor:
    weight = layer.parametrizations.weight
    down = weight[0].down.view(-1, *weight.original.shape[1:])
    between = weight[0].scale * layer._conv_forward(inputs, down, None)
    return layer._conv_forward(inputs, weight.original, layer.bias) + F.conv2d(between, weight[0].up[:, :, None, None])


FORWARD = {nn.Linear: _linear, nn.Conv2d: _convolution}
