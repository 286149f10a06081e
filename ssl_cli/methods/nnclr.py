"""NNCLR: nearest neighbours as positives (Dwibedi et al., 2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Positive
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.methods.parts.queue import Queue, random_directions
from ssl_cli.methods.simsiam import predictor


def nearest(z: Tensor, support: Tensor) -> Tensor:
    """The nearest of some unit vectors to each embedding: (B, D), (Q, D) → (B, D), without gradient."""
    with torch.no_grad(), torch.autocast(z.device.type, enabled=False):
        return support[(z @ support.T).argmax(1)]


def info_nce(anchors: Tensor, predictions: Tensor, temperature: float) -> Tensor:
    """Each anchor finds its own prediction among all of the batch, by cosine (equation 2): (B, D), (B, D) → scalar."""
    with torch.autocast(anchors.device.type, enabled=False):
        similarity = F.normalize(anchors, dim=1) @ F.normalize(predictions, dim=1).T / temperature
        return F.cross_entropy(similarity, torch.arange(len(anchors), device=anchors.device))


class NNCLR(Method):
    """What is like an input attracts its view, and all other inputs of the batch repel it.

    Args:
        backbone, head: the network.
        predictor_width: of the hidden layer of the predictor.
        temperature: of the similarities.
        queue: embeddings of earlier batches among which neighbours are sought.
    """

    n_views = 2

    def __init__(self, backbone: nn.Module, head, predictor_width: Count, temperature: Positive, queue: Count):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.predictor = predictor(self.head.outputs, predictor_width)
        self.temperature = temperature
        self.queue = Queue(random_directions(queue, self.head.outputs))

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean of `info_nce` both ways: one view's neighbour, the other view's prediction."""
        z0, z1 = self.project(views)
        p0, p1 = self.predictor(torch.cat([z0, z1])).float().chunk(2)
        neighbours0, neighbours1 = (nearest(z, self.queue.embeddings) for z in (z0, z1))
        loss = (info_nce(neighbours0, p1, self.temperature) + info_nce(neighbours1, p0, self.temperature)) / 2
        self.queue.add(z0)  # the first view alone
        return loss, {"spread": embedding_spread(torch.cat([z0, z1]))}
