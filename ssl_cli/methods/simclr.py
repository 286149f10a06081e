"""SimCLR (Chen et al., 2020), and what was proposed since for its negatives."""

import math

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Negatives, Positive
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.methods.parts.ema_teacher import copy_as_teacher, update_teacher
from ssl_cli.methods.parts.queue import Queue

MATRIX_BYTES = 256 << 20  # of similarities at once: the whole matrix up to B = 4,096 in float32


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


def nt_xent_with(
    z0: Tensor, z1: Tensor, temperature: float, debias: float = 0.0, cancel: float = 0.0, queue: Tensor | None = None
) -> Tensor:
    """NT-Xent with other negatives; without any of the options it is `nt_xent`.

    Args:
        z0, z1: (B, D) each.
        temperature: of the similarities.
        debias: the share τ⁺ of negatives that are taken to be of the anchor's class; their part of the sum over
            negatives is estimated by the positive and taken off (Chuang et al., 2020, equation 8).
        cancel: the share of an anchor's negatives, the most similar ones, that is left out (after Huynh et al., 2022).
        queue: (Q, D), further negatives without gradient (He et al., 2020).
    """
    with torch.autocast(z0.device.type, enabled=False):
        z = F.normalize(torch.cat([z0, z1]), dim=1)
        count = len(z)
        positive = (z * z.roll(count // 2, 0)).sum(1) / temperature
        similarity = z @ torch.cat([z, F.normalize(queue, dim=1)] if queue is not None else [z]).T / temperature
        own = torch.arange(count, device=z.device)
        similarity[own, own] = similarity[own, own.roll(count // 2)] = -torch.inf
        negatives = similarity.shape[1] - 2
        left_out = min(round(cancel * negatives), negatives - 1)
        if left_out:
            similarity = similarity.scatter(1, similarity.topk(left_out, dim=1).indices, -torch.inf)
        sums = similarity.logsumexp(1)
        if debias:
            # Relative to the largest that can be, e^(1/temperature), so that nothing overflows.
            most, kept = 1 / temperature, negatives - left_out
            clean = ((sums - most).exp() - kept * debias * (positive - most).exp()) / (1 - debias)
            sums = clean.clamp_min(max(kept * math.exp(-2 * most), 1e-30)).log() + most
        return F.softplus(sums - positive).mean()


class SimCLR(Method):
    """Two views of an input attract each other and repel all other inputs of the batch.

    Args:
        backbone, head: the network.
        temperature: of the similarities.
        negatives: what else repels, and what does not.
    """

    n_views = 2

    def __init__(self, backbone: nn.Module, head, temperature: Positive, negatives: Negatives):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.temperature = temperature
        self.negatives = negatives
        if negatives.queue:
            self.teacher = copy_as_teacher(self.backbone, self.head)
            self.queue = Queue(torch.zeros(negatives.queue, self.head.outputs))

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """NT-Xent of the projections; both views pass through the network as one batch, and of all processes together."""
        z0, z1 = (gathered(z) for z in self.project(views))
        wants = self.negatives
        if not (wants.queue or wants.debias or wants.cancel):
            loss = nt_xent(z0, z1, self.temperature)
        else:
            queue = self.queue.filled() if wants.queue else None
            loss = nt_xent_with(z0, z1, self.temperature, wants.debias, wants.cancel, queue)
            if wants.queue:
                with torch.no_grad():
                    self.queue.add(gathered(self.teacher(torch.cat(views)).float()))
        return loss, {"spread": embedding_spread(torch.cat([z0, z1]))}

    def after_step(self, step: int, steps: int) -> None:
        """Update the EMA teacher that fills the queue, if there is one (He et al., 2020, equation 2)."""
        if self.negatives.queue:
            update_teacher(self.teacher, [self.backbone, self.head], self.negatives.momentum)


def gathered(z: Tensor) -> Tensor:
    """The embeddings of all processes by rank; gradients find their way back: (B, D) → (B · processes, D).

    Each process then has the whole loss; averaging gradients over processes, as DistributedDataParallel does, gives its
    gradient.
    """
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return _Gathered.apply(z) if together else z


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z: Tensor) -> Tensor:
        everyone = [torch.empty_like(z) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(everyone, z.contiguous())
        return torch.cat(everyone)

    @staticmethod
    def backward(ctx, of_all: Tensor) -> Tensor:
        total = of_all.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total.chunk(torch.distributed.get_world_size())[torch.distributed.get_rank()]
