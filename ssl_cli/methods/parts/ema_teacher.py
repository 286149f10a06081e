"""A network that follows another one: what He et al. (2020), Grill et al. (2020) and Caron et al. (2021) take targets from."""

import copy
import math

import torch
from torch import nn


def follower_of(*parts: nn.Module) -> nn.Sequential:
    """A copy of these parts in a row, which takes no gradient. Its batch norms keep statistics of their own."""
    return copy.deepcopy(nn.Sequential(*parts)).requires_grad_(False)


@torch.no_grad()
def follow(follower: nn.Sequential, leaders: list[nn.Module], momentum: float) -> None:
    """Move the weights of a follower towards the parts that it is a copy of: `momentum` is the share that stays."""
    weights = [weight for leader in leaders for weight in leader.parameters()]
    torch._foreach_lerp_(list(follower.parameters()), weights, 1 - momentum)


def rising(momentum: float, step: int, steps: int) -> float:
    """From `momentum` at step 0 to 1 after `steps`, along a cosine (Grill et al., 2020, section 3.2)."""
    return 1 - (1 - momentum) * (1 + math.cos(math.pi * step / steps)) / 2
