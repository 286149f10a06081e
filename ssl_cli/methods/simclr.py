"""SimCLR (Chen et al., 2020)."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.schema import Positive

MATRIX_BYTES = 256 << 20  # of similarities kept at once: the whole matrix up to B = 4,096 in float32


def nt_xent(z0: Tensor, z1: Tensor, temperature: float, matrix_bytes: int = MATRIX_BYTES) -> Tensor:
    """The normalised temperature-scaled cross-entropy (Chen et al., 2020, equation 1), mean over all 2B anchors.

    Each embedding finds the other view of its input among the 2B − 1 others, by cosine: (B, D), (B, D) → scalar.
    All embeddings equal give ln(2B − 1). A matrix of similarities above `matrix_bytes` is made in blocks of rows, and
    made anew in the backward pass: memory then grows with B and not with B².
    """
    with torch.autocast(z0.device.type, enabled=False):  # in bfloat16 a similarity of 10 would have steps of 0.06
        z = F.normalize(torch.cat([z0, z1]), dim=1)
        rows = max(1, matrix_bytes // (len(z) * z.element_size()))
        if rows >= len(z):
            return _anchors(z, 0, len(z), temperature) / len(z)
        blocks = [(first, min(first + rows, len(z))) for first in range(0, len(z), rows)]
        anew = partial(checkpoint, _anchors, use_reentrant=False, preserve_rng_state=False)
        return sum(anew(z, first, end, temperature) for first, end in blocks) / len(z)


def _anchors(z: Tensor, first: int, end: int, temperature: float) -> Tensor:
    """The sum over anchors `first` to `end` of all 2B: (2B, D) → scalar."""
    similarity = z[first:end] @ z.T / temperature
    similarity.diagonal(first).fill_(-torch.inf)
    partner = torch.arange(len(z), device=z.device).roll(len(z) // 2)[first:end]
    return F.cross_entropy(similarity, partner, reduction="sum")


class SimCLR(Method):
    """Two views of an input attract each other and repel all other inputs of the batch."""

    n_views = 2

    def __init__(self, backbone: nn.Module, head, temperature: Positive):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.temperature = temperature

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """NT-Xent of the projections; both views pass through the network as one batch."""
        z = self.head(self.backbone(torch.cat(views))).float()
        return nt_xent(*z.chunk(2), self.temperature), {"spread": embedding_spread(z)}
