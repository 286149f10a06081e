"""SimSiam (Chen and He, 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.models.heads import MLP


def negative_cosine(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Minus the cosine of each prediction with what it should be, mean over the batch: (B, D), (B, D) → scalar.

    No gradient passes through `wanted` (Chen and He, 2021, equations 1 and 3).
    """
    return -F.cosine_similarity(predicted, wanted.detach(), dim=1).mean()


def predictor(width: int, hidden: int) -> MLP:
    """From the projection of one view to that of the other: `width` → `hidden` → `width`."""
    return MLP(width, [hidden, width], batch_norm=True, output="linear", last_layer_init="random")


class SimSiam(Method):
    """From each view of an input the embedding of the other is predicted; nothing repels.

    That the predicted embedding feels no gradient is all that keeps the network from giving the same answer to everything.

    Args:
        backbone, head: the network.
        predictor_width: of the hidden layer of the predictor.
    """

    n_views = 2

    def __init__(self, backbone: nn.Module, head, predictor_width: Count):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.predictor = predictor(self.head.outputs, predictor_width)

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean of both negative cosines (equation 4), −1 at best."""
        z0, z1 = self.project(views)
        p0, p1 = self.predictor(torch.cat([z0, z1])).float().chunk(2)
        loss = (negative_cosine(p0, z1) + negative_cosine(p1, z0)) / 2
        return loss, {"spread": embedding_spread(torch.cat([z0, z1]))}
