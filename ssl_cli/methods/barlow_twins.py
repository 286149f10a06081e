"""Barlow Twins (Zbontar et al., 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Positive
from ssl_cli.methods.base import Method, embedding_spread


def cross_correlation(z0: Tensor, z1: Tensor) -> Tensor:
    """How every number of one view goes with every number of the other, over the batch: (B, D), (B, D) → (D, D) in −1 to 1."""
    with torch.autocast(z0.device.type, enabled=False):
        standard0, standard1 = (F.batch_norm(z, None, None, training=True) for z in (z0, z1))
        return standard0.T @ standard1 / len(z0)


def barlow(correlation: Tensor, redundancy: float) -> Tensor:
    """How far a cross-correlation is from the identity (Zbontar et al., 2021, equation 1): (D, D) → scalar.

    The squares of what the diagonal lacks to 1, and of all else, times `redundancy` (λ), summed up.
    """
    diagonal = correlation.diagonal()
    others = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + redundancy * others


class BarlowTwins(Method):
    """Each number of an embedding is the same in both views of an input, and tells what no other number tells.

    Args:
        backbone, head: the network.
        redundancy: λ, the weight of the correlations between different numbers.
    """

    n_views = 2

    def __init__(self, backbone: nn.Module, head, redundancy: Positive):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.redundancy = redundancy

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """`barlow` of the projections. `invariance` is the mean of the diagonal: 1 where no view changes anything."""
        z0, z1 = self.project(views)
        correlation = cross_correlation(z0, z1)
        return barlow(correlation, self.redundancy), {
            "spread": embedding_spread(torch.cat([z0, z1])),
            "invariance": correlation.detach().diagonal().mean(),
        }
