"""EMA teachers: a copy of the network whose weights are an exponential moving average of the network's.

He et al. (2020) call it the momentum encoder, Grill et al. (2020) the target network, Caron et al. (2021) the momentum teacher.
"""

import copy
import math

import torch
from torch import Tensor, nn


def copy_as_teacher(*parts: nn.Module) -> nn.Sequential:
    """A copy of these parts, applied in a row, that needs no gradient; its batch norm keeps running statistics of its own."""
    return copy.deepcopy(nn.Sequential(*parts)).requires_grad_(False)


@torch.no_grad()
def update_teacher(teacher: nn.Sequential, student: list[nn.Module], momentum: float) -> None:
    """Set each weight of the teacher to `momentum` · its own value + (1 − `momentum`) · the student's, in place.

    Args:
        teacher: from `copy_as_teacher`.
        student: the parts that it is a copy of, in the same order.
        momentum: 0 to 1.
    """
    weights: list[Tensor] = [weight for part in student for weight in part.parameters()]
    own: list[Tensor] = list(teacher.parameters())
    torch._foreach_lerp_(own, weights, 1 - momentum)  # pyright: ignore[reportPrivateImportUsage]  # has no public name


def cosine_momentum(momentum: float, step: int, steps: int) -> float:
    """The momentum at a step, which rises along a cosine from `momentum` to 1 (Grill et al., 2020, section 3.2)."""
    return 1 - (1 - momentum) * (1 + math.cos(math.pi * step / steps)) / 2
