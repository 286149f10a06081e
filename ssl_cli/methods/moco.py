"""MoCo: momentum contrast (He et al., 2020), with a projection head of two layers as in MoCo v2 (Chen, Fan et al., 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Part, Positive
from ssl_cli.methods.base import Method, accuracy, embedding_spread
from ssl_cli.methods.parts.ema_teacher import follow, follower_of
from ssl_cli.methods.parts.queue import Queue, random_directions


def similarities(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Cosines of each query with its key, in column 0, and with the queue: (B, D), (B, D), (Q, D) → (B, 1 + Q)."""
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
        return torch.cat([(queries * keys).sum(1, keepdim=True), queries @ queue.T], dim=1) / temperature


class MoCo(Method):
    """A view finds the other view of its input, as a network that follows slowly sees it, among inputs of earlier batches.

    The paper shuffles inputs between devices before the follower's batch norm, or a query would know its key by the
    statistics that they share. One device has one batch to take statistics of, so there is nothing to shuffle between;
    that batch is whole, and its statistics say less of it than those of a device's small part.

    Args:
        backbone, head: the network, of which the follower is a copy.
        temperature: of the similarities.
        queue: embeddings of earlier batches that repel.
        momentum: share of the follower that stays after a step.
        symmetric: each view is asked for the other, for twice the cost of a step; else the first for the second, as in
            the paper.
    """

    n_views = 2

    def __init__(self, backbone: nn.Module, head, temperature: Positive, queue: Count, momentum: Part, symmetric: bool):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.temperature = temperature
        self.momentum = momentum
        self.symmetric = symmetric
        self.follower = follower_of(self.backbone, self.head)
        self.queue = Queue(random_directions(queue, self.head.outputs))

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the key among the queue (equation 1), mean over queries; then the keys join the queue."""
        asked, wanted = (views, views[::-1]) if self.symmetric else (views[:1], views[1:])
        queries = torch.cat(self.projected(asked))
        with torch.no_grad():
            keys = self.follower(torch.cat(wanted)).float()
        # The backward pass wants the queue as it was.
        logits = similarities(queries, keys, self.queue.embeddings.clone(), self.temperature)
        self.queue.add(keys)
        first = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        return F.cross_entropy(logits, first), {
            "pretext_accuracy": accuracy(logits, first),
            "spread": embedding_spread(queries),
        }

    def after_step(self, step: int, steps: int) -> None:
        """The follower moves towards the network (equation 2)."""
        follow(self.follower, [self.backbone, self.head], self.momentum)
