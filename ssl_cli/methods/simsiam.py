"""SimSiam (Chen and He, 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.schema import Count
from ssl_cli.data.types import View
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import MLP, HeadFactory
from ssl_cli.randomness import Draws


def negative_cosine(predictions: Tensor, targets: Tensor) -> Tensor:
    """Negative cosine similarity, mean over the batch: (B, D), (B, D) → scalar.

    No gradient passes through `targets` (Chen and He, 2021, equations 1 and 3).
    """
    return -F.cosine_similarity(predictions, targets.detach(), dim=1).mean()


def predictor(width: int, hidden: int) -> MLP:
    """The prediction head: an MLP `width` → `hidden` → `width`."""
    return MLP(width, [hidden, width], batch_norm=True, output="linear", last_layer_init="random")


class SimSiam(Method):
    """Predict the embedding of one view from the other view of the same input; there are no negatives.

    Only the stopped gradient of the target prevents collapse to a constant embedding.

    Args:
        backbone, head: the network.
        predictor_width: width of the predictor's hidden layer.
    """

    n_views = 2
    any_resolution = True

    def __init__(self, backbone: Backbone, head: HeadFactory, predictor_width: Count):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.predictor = predictor(self.head.outputs, predictor_width)

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The symmetrised negative cosine similarity (equation 4), at least −1."""
        z0, z1 = self.project(views)
        p0, p1 = self.predictor(torch.cat([z0, z1])).float().chunk(2)
        loss = (negative_cosine(p0, z1) + negative_cosine(p1, z0)) / 2
        return loss, {"spread": embedding_spread(torch.cat([z0, z1]))}
