"""Barlow Twins (Zbontar et al., 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.schema import Positive
from ssl_cli.data.types import View
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.processes import gather
from ssl_cli.randomness import Draws


def cross_correlation(z0: Tensor, z1: Tensor) -> Tensor:
    """Correlation of each dimension of one view with each of the other over the batch: (B, D), (B, D) → (D, D), −1 to 1."""
    with torch.autocast(z0.device.type, enabled=False):
        standard0, standard1 = (F.batch_norm(z, None, None, training=True) for z in (z0, z1))
        return standard0.T @ standard1 / len(z0)


def barlow_loss(correlation: Tensor, redundancy: float) -> Tensor:
    """Squared distance of a cross-correlation matrix from the identity (Zbontar et al., 2021, equation 1): (D, D) → scalar.

    The sum of (1 − diagonal)², plus `redundancy` (λ) times the sum of squared off-diagonal elements.
    """
    diagonal = correlation.diagonal()
    others = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + redundancy * others


class BarlowTwins(Method):
    """Each embedding dimension is invariant to augmentation and uncorrelated with the others.

    Args:
        backbone, head: the network.
        redundancy: λ, the weight of the off-diagonal terms.
    """

    n_views = 2

    def __init__(self, backbone: Backbone, head: HeadFactory, redundancy: Positive):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.redundancy = redundancy

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """`barlow_loss` of the projections. The metric `invariance` is the mean of the diagonal, at most 1."""
        z0, z1 = (gather(z) for z in self.project(views))
        correlation = cross_correlation(z0, z1)
        return barlow_loss(correlation, self.redundancy), {
            "spread": embedding_spread(torch.cat([z0, z1])),
            "invariance": correlation.detach().diagonal().mean(),
        }
