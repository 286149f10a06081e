"""MoCo: momentum contrast (He et al., 2020), with a projection head of two layers as in MoCo v2 (Chen, Fan et al., 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.schema import Count, Fraction, Positive
from ssl_cli.data.token_batch import joined
from ssl_cli.data.types import View
from ssl_cli.methods.base import Projecting, accuracy, embedding_spread
from ssl_cli.methods.parts.ema_teacher import copy_as_teacher, update_teacher
from ssl_cli.methods.parts.queue import Queue, random_directions
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.processes import gather
from ssl_cli.randomness import Draws


def similarities(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Cosines of each query with its key, in column 0, and with the queue: (B, D), (B, D), (Q, D) → (B, 1 + Q)."""
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
        return torch.cat([(queries * keys).sum(1, keepdim=True), queries @ queue.T], dim=1) / temperature


class MoCo(Projecting):
    """Identify the EMA teacher's embedding of the other view (the key) among a queue of embeddings from earlier batches.

    The paper shuffles inputs between GPUs before the key encoder's batch norm, because a query and its key would
    otherwise share batch statistics and the task could be solved by them. Here batch norm has the statistics of the whole batch,
    on however many devices: there is nothing to shuffle between, and they give away less than those of one GPU's small part.

    Args:
        backbone, head: the query encoder; the teacher (the paper's momentum encoder) starts as a copy of it.
        temperature: of the similarities.
        queue: number of embeddings kept from earlier batches, the negatives.
        momentum: of the teacher.
        symmetric: each view is a query once and a key once, at twice the cost of a step; otherwise the first view is
            the query and the second the key, as in the paper.
    """

    n_views = 2

    def __init__(
        self,
        backbone: Backbone,
        head: HeadFactory,
        temperature: Positive,
        queue: Count,
        momentum: Fraction,
        symmetric: bool,
    ):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.temperature = temperature
        self.momentum = momentum
        self.symmetric = symmetric
        self.teacher = copy_as_teacher(self.backbone, self.head)
        self.queue = Queue(random_directions(queue, self.head.outputs))

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """InfoNCE (equation 1), mean over queries; then the keys join the queue."""
        query_views, key_views = (views, views[::-1]) if self.symmetric else (views[:1], views[1:])
        queries = torch.cat(self.project(query_views))
        with torch.no_grad():
            keys = self.teacher(joined(key_views)).float()
        # A clone, because the backward pass needs the queue as it was before the update.
        logits = similarities(queries, keys, self.queue.embeddings.clone(), self.temperature)
        self.queue.add(gather(keys))
        first = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        return F.cross_entropy(logits, first), {
            "pretext_accuracy": accuracy(logits, first),
            "spread": embedding_spread(queries),
        }

    def after_step(self, step: int, steps: int) -> None:
        """Update the teacher (equation 2)."""
        update_teacher(self.teacher, [self.backbone, self.head], self.momentum)
