"""Networks that train against each other (Goodfellow et al., 2014), in one loss and one step of the optimiser."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Shape

COARSE = 4  # sides down to which a critic's maps shrink


class Critic(nn.Module):
    """Is an input real, or made? Strided convolutions with leaky ReLU (DCGAN, Radford et al., 2016, section 3).

    Batch norm is everywhere but on the input. With `codes`, it judges an input together with its code (BiGAN, Donahue
    et al., 2017).

    Args:
        shape: channels, height, width of the inputs.
        width: channels after the first convolution; twice as many after each further one, up to 8 times.
        codes: numbers in a code; 0 for none.
    """

    def __init__(self, shape: Shape, width: int, codes: int = 0):
        super().__init__()
        halvings = max(1, math.ceil(math.log2(max(shape[1:]) / COARSE)))
        layers: list[nn.Module] = []
        inputs, sides = shape[0], shape[1:]
        for step in range(halvings):
            outputs = width * min(2**step, 8)
            norm = [nn.BatchNorm2d(outputs)] if step else []
            layers += [nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=not step), *norm, nn.LeakyReLU(0.2)]
            inputs, sides = outputs, [math.ceil(side / 2) for side in sides]
        self.look = nn.Sequential(*layers, nn.Flatten())
        seen = inputs * math.prod(sides)
        self.judge = nn.Sequential(nn.Linear(seen + codes, 8 * width), nn.LeakyReLU(0.2), nn.Linear(8 * width, 1))

    def forward(self, inputs: Tensor, codes: Tensor | None = None) -> Tensor:
        """(B, C, H, W), and (B, codes) where it judges pairs → logits (B,); above 0 is real."""
        features = self.look(inputs)
        together = features if codes is None else torch.cat([features, codes.to(features.dtype)], dim=1)
        return self.judge(together)[:, 0].float()


def detection(real: Tensor, made: Tensor) -> Tensor:
    """What a critic minimises: mean binary cross-entropy of calling real real and made made; ln 2 where it cannot tell.

    Logits (B,), (B,) → scalar.
    """
    return (F.softplus(-real).mean() + F.softplus(made).mean()) / 2


def deception(made: Tensor) -> Tensor:
    """What a maker minimises: the cross-entropy of its works being called real, which does not vanish while it is bad.

    Goodfellow et al., 2014, section 3. Logits (B,) → scalar.
    """
    return F.softplus(-made).mean()


@torch.no_grad()
def calls_right(real: Tensor, made: Tensor) -> Tensor:
    """The share of right calls: logits (B,), (B,) → scalar."""
    return ((real > 0).float().mean() + (made < 0).float().mean()) / 2


@contextmanager
def untaught(critic: nn.Module) -> Iterator[None]:
    """What is computed inside sends gradients through a critic, and none into its weights."""
    critic.requires_grad_(False)
    yield
    critic.requires_grad_(True)
