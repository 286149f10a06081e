"""SwAV: swapped assignments between views (Caron et al., 2020), with two views and no queue."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.schema import Count, Positive
from ssl_cli.data.types import View
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.methods.parts.prototypes import Prototypes
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.processes import gather
from ssl_cli.randomness import Draws


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, rounds: int) -> Tensor:
    """Soft assignments (codes) that use all prototypes equally: (B, K) → (B, K), rows sum to 1, columns to about B / K.

    The Sinkhorn–Knopp algorithm maximises scores plus `epsilon` times the entropy (Caron et al., 2020, section 3.1):
    it normalises columns and rows in turn. In log space, so that a small `epsilon` does not overflow.
    """
    logarithm = scores / epsilon
    for _ in range(rounds):
        logarithm = logarithm.log_softmax(0).log_softmax(1)
    return logarithm.exp()


class SwAV(Method):
    """Cluster each batch online, and predict the cluster assignment of one view from the other view.

    Args:
        backbone, head: the network.
        prototypes: number of clusters, K.
        temperature: of the predictions.
        epsilon: entropy regularisation of the assignments; lower makes them harder.
        rounds: Sinkhorn iterations.
    """

    n_views = 2
    any_resolution = True

    def __init__(
        self,
        backbone: Backbone,
        head: HeadFactory,
        prototypes: Count,
        temperature: Positive,
        epsilon: Positive,
        rounds: Count,
    ):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.prototypes = Prototypes(self.head.outputs, prototypes)
        self.temperature = temperature
        self.epsilon = epsilon
        self.rounds = rounds

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of each view's prediction against the other's code (equation 2).

        The metric `clusters` is the number of prototypes that are the nearest of some embedding in the batch.
        """
        z0, z1 = (gather(z) for z in self.project(views))
        s0, s1 = self.prototypes(torch.cat([z0, z1])).chunk(2)
        code0, code1 = (sinkhorn(scores, self.epsilon, self.rounds) for scores in (s0, s1))
        loss = (F.cross_entropy(s0 / self.temperature, code1) + F.cross_entropy(s1 / self.temperature, code0)) / 2
        return loss, {
            "spread": embedding_spread(torch.cat([z0, z1])),
            "clusters": torch.zeros_like(s0[0]).scatter(0, s0.argmax(1), 1.0).sum(),
        }
