"""MICLe: multi-instance contrastive learning (Azizi et al., 2021)."""

import torch
from torch import Tensor

from ssl_cli.config.schema import Positive
from ssl_cli.data.types import View
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.methods.simclr import nt_xent
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.processes import gather
from ssl_cli.randomness import Draws


class MICLe(Method):
    """SimCLR with two inputs of the same case as positives, such as two images of one patient.

    The network becomes invariant to what differs within a case. A case of one input gets two views of it, as in SimCLR
    (section 3.2).

    Args:
        backbone, head: the network.
        cases: int64 (N,), the case of each input.
        temperature: of the similarities.

    Raises:
        ValueError: the data set has no cases.
    """

    n_views = 2
    any_resolution = True

    def __init__(self, backbone: Backbone, head: HeadFactory, cases: Tensor | None, temperature: Positive):
        super().__init__(backbone)
        if cases is None:
            raise ValueError(
                "the data set has no cases; use dataset=synthetic_cases, or dataset=arrays with train_cases.npy"
            )
        self.head = head(inputs=backbone.dim)
        self.temperature = temperature

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """NT-Xent of the projections."""
        z0, z1 = (gather(z) for z in self.project(views))
        return nt_xent(z0, z1, self.temperature), {"spread": embedding_spread(torch.cat([z0, z1]))}
