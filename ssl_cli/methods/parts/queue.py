"""Embeddings of earlier batches: what He et al. (2020) repel from and Dwibedi et al. (2021) find neighbours in."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Queue(nn.Module):
    """Unit embeddings, of which the latest take the place of the oldest.

    Args:
        first: (Q, D), what stands in it until it has been filled.
    """

    def __init__(self, first: Tensor):
        super().__init__()
        self.register_buffer("embeddings", first)
        self.register_buffer("added", torch.zeros((), dtype=torch.int64))

    def filled(self) -> Tensor:
        """The embeddings that were added and are still there: (up to Q, D)."""
        return self.embeddings[: int(self.added.clamp_max(len(self.embeddings)))]

    @torch.no_grad()
    def add(self, embeddings: Tensor) -> None:
        """Of more than Q, the first ones: (B, D)."""
        latest = F.normalize(embeddings, dim=1)[: len(self.embeddings)]
        places = (torch.arange(len(latest), device=latest.device) + self.added) % len(self.embeddings)
        self.embeddings[places] = latest
        self.added += len(latest)


def random_directions(count: int, width: int) -> Tensor:
    """Unit vectors (count, width)."""
    return F.normalize(torch.randn(count, width), dim=1)
