"""Learnt prototypes: one direction per cluster."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Prototypes(nn.Module):
    """`count` learnt unit vectors; weights are normalised, so that no prototype is preferred for its norm.

    Args:
        inputs: dimension of the embeddings.
        count: number of prototypes, K.
    """

    def __init__(self, inputs: int, count: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, inputs))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Cosine similarities in float32: (B, D) → (B, K)."""
        with torch.autocast(embeddings.device.type, enabled=False):
            return F.normalize(embeddings.float(), dim=1) @ F.normalize(self.weight, dim=1).T
