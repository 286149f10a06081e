"""Directions that embeddings are compared with, one a learnt cluster."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Prototypes(nn.Module):
    """`count` unit vectors, learnt; only the direction of a weight counts, so that no cluster wins by its length.

    Args:
        inputs: features of an embedding.
        count: of the vectors.
    """

    def __init__(self, inputs: int, count: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, inputs))

    def forward(self, embeddings: Tensor) -> Tensor:
        """The cosine of every embedding with every prototype, in float32: (B, D) → (B, count)."""
        with torch.autocast(embeddings.device.type, enabled=False):
            return F.normalize(embeddings.float(), dim=1) @ F.normalize(self.weight, dim=1).T
