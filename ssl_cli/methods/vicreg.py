"""VICReg: variance, invariance, covariance (Bardes et al., 2022)."""

import functools
import operator

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.schema import NonNegative
from ssl_cli.data.types import View
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.processes import gather
from ssl_cli.randomness import Draws

SMALLEST_VARIANCE = 1e-4  # added before the square root, whose slope is infinite at 0


def variance_loss(z: Tensor) -> Tensor:
    """The hinge loss on the standard deviation of each dimension over the batch (equations 1 and 2): (B, D) → scalar."""
    return F.relu(1 - (z.var(0) + SMALLEST_VARIANCE).sqrt()).mean()


def covariance_loss(z: Tensor) -> Tensor:
    """The sum of squared off-diagonal covariances, divided by D (equations 3 and 4): (B, D) → scalar."""
    covariance = z.T.cov()
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


class VICReg(Method):
    """Embeddings of two views are equal; a variance and a covariance term prevent collapse and redundancy.

    Args:
        backbone, head: the network.
        invariance, variance, covariance: weights λ, μ, ν of the three terms.
    """

    n_views = 2
    any_resolution = True

    def __init__(
        self,
        backbone: Backbone,
        head: HeadFactory,
        invariance: NonNegative,
        variance: NonNegative,
        covariance: NonNegative,
    ):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.weights = {"invariance": invariance, "variance": variance, "covariance": covariance}

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the three terms (equation 6, with the mean of both variance terms, as in the authors' code).

        The terms are logged without their weights.
        """
        z0, z1 = (gather(z) for z in self.project(views))
        terms = vicreg_terms(z0, z1)
        loss = functools.reduce(operator.add, (self.weights[name] * term for name, term in terms.items()))
        logged = {name: term.detach() for name, term in terms.items()}
        return loss, {"spread": embedding_spread(torch.cat([z0, z1])), **logged}


def vicreg_terms(z0: Tensor, z1: Tensor) -> dict[str, Tensor]:
    """The invariance, variance and covariance terms: (B, D), (B, D) → a scalar each."""
    with torch.autocast(z0.device.type, enabled=False):
        return {
            "invariance": F.mse_loss(z0, z1),
            "variance": (variance_loss(z0) + variance_loss(z1)) / 2,
            "covariance": covariance_loss(z0) + covariance_loss(z1),
        }
