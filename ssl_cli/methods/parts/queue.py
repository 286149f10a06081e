"""Embeddings of earlier batches: negatives in He et al. (2020), nearest neighbours in Dwibedi et al. (2021)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Queue(nn.Module):
    """A ring buffer of unit embeddings.

    Args:
        first: (Q, D), the initial content.
    """

    embeddings: Tensor
    added: Tensor

    def __init__(self, first: Tensor):
        super().__init__()
        self.register_buffer("embeddings", first)
        self.register_buffer("added", torch.zeros((), dtype=torch.int64))

    def filled(self) -> Tensor:
        """The embeddings added so far, without the initial content: (at most Q, D)."""
        return self.embeddings[: int(self.added.clamp_max(len(self.embeddings)))]

    @torch.no_grad()
    def add(self, embeddings: Tensor) -> None:
        """Replace the oldest embeddings by these, or by the first Q of them: (B, D)."""
        latest = F.normalize(embeddings, dim=1)[: len(self.embeddings)]
        places = (torch.arange(len(latest), device=latest.device) + self.added) % len(self.embeddings)
        self.embeddings[places] = latest
        self.added += len(latest)


def random_directions(count: int, width: int) -> Tensor:
    """Random unit vectors (count, width)."""
    return F.normalize(torch.randn(count, width), dim=1)
