"""VICReg: variance, invariance, covariance (Bardes et al., 2022)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import NonNegative
from ssl_cli.methods.base import Method, embedding_spread

SMALLEST_VARIANCE = 1e-4  # under the root, whose slope has no end at 0


def lacking_variance(z: Tensor) -> Tensor:
    """What the deviation of each number over the batch lacks to 1, on average (equations 1 and 2): (B, D) → scalar."""
    return F.relu(1 - (z.var(0) + SMALLEST_VARIANCE).sqrt()).mean()


def shared_covariance(z: Tensor) -> Tensor:
    """The squared covariances of different numbers, summed up, over D (equations 3 and 4): (B, D) → scalar."""
    covariance = z.T.cov()
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / z.shape[1]


class VICReg(Method):
    """Views of an input have the same embedding, and embeddings may neither shrink to a point nor repeat themselves.

    Args:
        backbone, head: the network.
        invariance, variance, covariance: the weights λ, μ, ν of the three parts.
    """

    n_views = 2

    def __init__(
        self, backbone: nn.Module, head, invariance: NonNegative, variance: NonNegative, covariance: NonNegative
    ):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.weights = {"invariance": invariance, "variance": variance, "covariance": covariance}

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The three parts of the projections, weighed (equation 6, with the mean of both variances as in its code).

        Logged without their weights.
        """
        z0, z1 = self.project(views)
        parts = vicreg_parts(z0, z1)
        loss = sum(self.weights[name] * part for name, part in parts.items())
        logged = {name: part.detach() for name, part in parts.items()}
        return loss, {"spread": embedding_spread(torch.cat([z0, z1])), **logged}


def vicreg_parts(z0: Tensor, z1: Tensor) -> dict[str, Tensor]:
    """(B, D), (B, D) → a scalar each: the squared distance of the views, what variance lacks, what covariance there is."""
    with torch.autocast(z0.device.type, enabled=False):
        return {
            "invariance": F.mse_loss(z0, z1),
            "variance": (lacking_variance(z0) + lacking_variance(z1)) / 2,
            "covariance": shared_covariance(z0) + shared_covariance(z1),
        }
