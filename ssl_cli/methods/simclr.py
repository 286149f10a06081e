"""SimCLR (Chen et al., 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.schema import Positive


def nt_xent(z0: Tensor, z1: Tensor, temperature: float) -> Tensor:
    """The normalised temperature-scaled cross-entropy (Chen et al., 2020, equation 1), mean over all 2B anchors.

    Each embedding finds the other view of its input among the 2B − 1 others, by cosine: (B, D), (B, D) → scalar.
    All embeddings equal give ln(2B − 1).
    """
    with torch.autocast(z0.device.type, enabled=False):  # in bfloat16 a similarity of 10 would have steps of 0.06
        z = F.normalize(torch.cat([z0, z1]), dim=1)
        similarity = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
        partner = torch.arange(len(z), device=z.device).roll(len(z0))
        return F.cross_entropy(similarity, partner)


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
