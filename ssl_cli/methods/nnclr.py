"""NNCLR: nearest neighbours as positives (Dwibedi et al., 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.schema import Count, Positive
from ssl_cli.data.types import View
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.methods.parts.queue import Queue, random_directions
from ssl_cli.methods.simsiam import predictor
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.processes import gather
from ssl_cli.randomness import Draws


def nearest(z: Tensor, support: Tensor) -> Tensor:
    """The nearest neighbour of each embedding among unit vectors, without gradient: (B, D), (Q, D) → (B, D)."""
    with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
        return support[(z @ support.T).argmax(1)]


def info_nce(anchors: Tensor, predictions: Tensor, temperature: float) -> Tensor:
    """InfoNCE by cosine similarity, with the batch's other predictions as negatives (equation 2): (B, D), (B, D) → scalar."""
    with torch.autocast(anchors.device.type, enabled=False):
        similarity = F.normalize(anchors, dim=1) @ F.normalize(predictions, dim=1).T / temperature
        return F.cross_entropy(similarity, torch.arange(len(anchors), device=anchors.device))


class NNCLR(Method):
    """Contrastive learning with the nearest neighbour of the other view as the positive.

    Args:
        backbone, head: the network.
        predictor_width: width of the predictor's hidden layer.
        temperature: of the similarities.
        queue: number of embeddings of earlier batches in which neighbours are searched.
    """

    n_views = 2
    any_resolution = True

    def __init__(
        self, backbone: Backbone, head: HeadFactory, predictor_width: Count, temperature: Positive, queue: Count
    ):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.predictor = predictor(self.head.outputs, predictor_width)
        self.temperature = temperature
        self.queue = Queue(random_directions(queue, self.head.outputs))

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """`info_nce` between one view's neighbour and the other view's prediction, symmetrised."""
        z0, z1 = self.project(views)
        p0, p1 = self.predictor(torch.cat([z0, z1])).float().chunk(2)
        z0, z1, p0, p1 = (gather(each) for each in (z0, z1, p0, p1))
        neighbours0, neighbours1 = (nearest(z, self.queue.embeddings) for z in (z0, z1))
        loss = (info_nce(neighbours0, p1, self.temperature) + info_nce(neighbours1, p0, self.temperature)) / 2
        self.queue.add(z0)  # only the first view's
        return loss, {"spread": embedding_spread(torch.cat([z0, z1]))}
