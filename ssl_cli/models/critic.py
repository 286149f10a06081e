"""Adversarial training (Goodfellow et al., 2014): both players' losses in one sum and one optimiser step."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Shape

SMALLEST = 4  # sides of a critic's last feature maps


class Critic(nn.Module):
    """A discriminator of strided convolutions with leaky ReLU (DCGAN, Radford et al., 2016, section 3).

    Batch norm follows every convolution but the first. With `latent_dim`, it judges an input together with a latent vector
    (BiGAN, Donahue et al., 2017): both come with the same weight, in layers of their own (ALI, Dumoulin et al., 2017, table 4),
    into two joint ones. Side by side in one layer, few latents would be lost among thousands of features.

    Args:
        shape: channels, height, width of the inputs.
        width: channels of the first convolution; doubled by each further one, up to 8 · `width`.
        latent_dim: dimension of the latent vectors; 0 for none.
    """

    def __init__(self, shape: Shape, width: int, latent_dim: int = 0):
        super().__init__()
        halvings = max(1, math.ceil(math.log2(max(shape[1:]) / SMALLEST)))
        layers: list[nn.Module] = []
        inputs, sides = shape[0], shape[1:]
        for step in range(halvings):
            outputs = width * min(2**step, 8)
            norm = [nn.BatchNorm2d(outputs)] if step else []
            layers += [nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=not step), *norm, nn.LeakyReLU(0.2)]
            inputs, sides = outputs, [math.ceil(side / 2) for side in sides]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        features, hidden = inputs * math.prod(sides), 8 * width
        self.of_inputs = nn.Linear(features, hidden)
        self.of_latents = nn.Linear(latent_dim, hidden, bias=False) if latent_dim else None
        joint = [nn.Linear(hidden, hidden), nn.LeakyReLU(0.2)] if latent_dim else []
        self.classifier = nn.Sequential(nn.LeakyReLU(0.2), *joint, nn.Linear(hidden, 1))

    def forward(self, inputs: Tensor, latents: Tensor | None = None) -> Tensor:
        """(B, C, H, W), and (B, latent_dim) for pairs → logits (B,); positive means real."""
        hidden = self.of_inputs(self.convolutions(inputs))
        if self.of_latents is not None and latents is not None:
            hidden = hidden + self.of_latents(latents)
        return self.classifier(hidden)[:, 0].float()


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The critic's binary cross-entropy, mean over real and generated inputs; ln 2 if it cannot tell them apart.

    Logits (B,), (B,) → scalar.
    """
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


def generator_loss(fake: Tensor) -> Tensor:
    """The non-saturating loss of a generator: the cross-entropy of its samples under the label `real`.

    Its gradient does not vanish while the critic wins (Goodfellow et al., 2014, section 3). Logits (B,) → scalar.
    """
    return F.softplus(-fake).mean()


@torch.no_grad()
def critic_accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """The critic's accuracy on real and generated inputs: logits (B,), (B,) → scalar."""
    return ((real > 0).float().mean() + (fake < 0).float().mean()) / 2


@contextmanager
def frozen(critic: nn.Module) -> Iterator[None]:
    """Inside, gradients pass through the critic and do not reach its weights."""
    critic.requires_grad_(False)
    yield
    critic.requires_grad_(True)
