"""SimCLR (Chen et al., 2020)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.schema import Positive

MATRIX_BYTES = 256 << 20  # of similarities kept at once: the whole matrix up to B = 4,096 in float32


def nt_xent(z0: Tensor, z1: Tensor, temperature: float, matrix_bytes: int = MATRIX_BYTES) -> Tensor:
    """The normalised temperature-scaled cross-entropy (Chen et al., 2020, equation 1), mean over all 2B anchors.

    Each embedding finds the other view of its input among the 2B − 1 others, by cosine: (B, D), (B, D) → scalar.
    All embeddings equal give ln(2B − 1). The similarities are made in blocks of rows of at most `matrix_bytes`, so
    memory grows with B and not with B².
    """
    with torch.autocast(z0.device.type, enabled=False):  # in bfloat16 a similarity of 10 would have steps of 0.06
        z = F.normalize(torch.cat([z0, z1]), dim=1)
        rows = max(1, matrix_bytes // (len(z) * z.element_size()))
        return _Anchors.apply(z, temperature, rows) / len(z)


class _Anchors(torch.autograd.Function):
    """The sum of the losses of all anchors, in blocks of `rows`: unit vectors (2B, D) → scalar.

    The gradient has a closed form: with P the softmax of the similarities (an anchor's own left out) and z⁺ the
    partners, it is ((P + Pᵀ) z − 2 z⁺) / temperature. It is made on the way, while a block's softmax is at hand, so
    nothing of the size of the matrix is kept or made twice.
    """

    @staticmethod
    def forward(ctx, z: Tensor, temperature: float, rows: int) -> Tensor:
        scaled, partners = z / temperature, z.roll(len(z) // 2, 0)
        # Lying on its side: a product with the transposed matrix takes three times as long.
        loss, gradient = -(z * partners).sum() / temperature, (-2 * partners).T.contiguous()
        for first in range(0, len(z), rows):
            anchors = z[first : first + rows]
            shares = anchors @ scaled.T
            shares.diagonal(first).fill_(-torch.inf)
            highest = shares.amax(1, keepdim=True)
            total = shares.sub_(highest).exp_().sum(1, keepdim=True)
            loss = loss + (highest + total.log()).sum()
            shares.div_(total)
            gradient[:, first : first + rows] += z.T @ shares.T
            gradient.addmm_(anchors.T, shares)
        ctx.save_for_backward(gradient.T / temperature)
        return loss

    @staticmethod
    def backward(ctx, of_loss: Tensor) -> tuple[Tensor, None, None]:
        return of_loss * ctx.saved_tensors[0], None, None


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
