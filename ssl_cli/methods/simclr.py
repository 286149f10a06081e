"""SimCLR (Chen et al., 2020), with later proposals for its negatives."""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.schema import Negatives, Positive
from ssl_cli.data.token_batch import joined
from ssl_cli.data.types import View
from ssl_cli.methods.base import Projecting, embedding_spread
from ssl_cli.methods.parts.ema_teacher import copy_as_teacher, update_teacher
from ssl_cli.methods.parts.queue import Queue
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.processes import gather
from ssl_cli.randomness import Draws

MATRIX_BYTES = 256 << 20  # of similarities in memory at once: the whole matrix up to B = 4,096 in float32


def nt_xent(z0: Tensor, z1: Tensor, temperature: float, matrix_bytes: int = MATRIX_BYTES) -> Tensor:
    """The normalised temperature-scaled cross-entropy (Chen et al., 2020, equation 1), mean over all 2B anchors.

    Cosine similarities; the positive is the other view of the same input, the negatives are the 2B − 2 other embeddings:
    (B, D), (B, D) → scalar. Equal embeddings give ln(2B − 1). Similarities are computed in blocks of rows of at most
    `matrix_bytes`, so memory is linear in B.
    """
    with torch.autocast(z0.device.type, enabled=False):  # in bfloat16, similarities near 10 are 0.06 apart
        z = F.normalize(torch.cat([z0, z1]), dim=1)
        rows = max(1, matrix_bytes // (len(z) * z.element_size()))
        return _Anchors.apply(z, temperature, rows) / len(z)


class _Anchors(torch.autograd.Function):
    """The sum of the losses of all anchors, in blocks of `rows`: unit vectors (2B, D) → scalar.

    The gradient has a closed form: with P the softmax of the similarities (without an anchor's own) and z⁺ the
    positives, it is ((P + Pᵀ) z − 2 z⁺) / temperature. It is computed in the forward pass, where each block's softmax is
    available, so no matrix of that size is stored or recomputed.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, temperature: float, rows: int) -> Tensor:
        scaled, positives = z / temperature, z.roll(len(z) // 2, 0)
        # Transposed, because the product with a transposed matrix takes three times as long.
        loss, gradient = -(z * positives).sum() / temperature, (-2 * positives).T.contiguous()
        for first in range(0, len(z), rows):
            anchors = z[first : first + rows]
            softmax = anchors @ scaled.T
            softmax.diagonal(first).fill_(-torch.inf)
            highest = softmax.amax(1, keepdim=True)
            total = softmax.sub_(highest).exp_().sum(1, keepdim=True)
            loss = loss + (highest + total.log()).sum()
            softmax.div_(total)
            gradient[:, first : first + rows] += z.T @ softmax.T
            gradient.addmm_(anchors.T, softmax)
        ctx.save_for_backward(gradient.T / temperature)
        return loss

    @staticmethod
    def backward(ctx: Any, *of_outputs: Tensor) -> tuple[Tensor, None, None]:
        (of_loss,) = of_outputs
        return of_loss * ctx.saved_tensors[0], None, None


def nt_xent_with(
    z0: Tensor, z1: Tensor, temperature: float, debias: float = 0.0, cancel: float = 0.0, queue: Tensor | None = None
) -> Tensor:
    """NT-Xent with modified negatives; equal to `nt_xent` without options.

    Args:
        z0, z1: (B, D) each.
        temperature: of the similarities.
        debias: assumed fraction τ⁺ of negatives that have the anchor's class; their part of the sum over negatives is
            estimated from the positive and subtracted (Chuang et al., 2020, equation 8).
        cancel: fraction of an anchor's negatives, the most similar ones, that are left out (after Huynh et al., 2022).
        queue: (Q, D), more negatives, without gradient (He et al., 2020).
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
            # Relative to the largest possible value, e^(1/temperature), against overflow.
            most, kept = 1 / temperature, negatives - left_out
            clean = ((sums - most).exp() - kept * debias * (positive - most).exp()) / (1 - debias)
            sums = clean.clamp_min(max(kept * math.exp(-2 * most), 1e-30)).log() + most
        return F.softplus(sums - positive).mean()


def one_sided(z0: Tensor, z1: Tensor, temperature: float) -> Tensor:
    """Each first view against all second views (Gao et al., 2021, equation 1): (B, D), (B, D) → scalar; ln B if all are equal."""
    with torch.autocast(z0.device.type, enabled=False):
        similarity = F.normalize(z0, dim=1) @ F.normalize(z1, dim=1).T / temperature
        return F.cross_entropy(similarity, torch.arange(len(z0), device=z0.device))


class SimCLR(Projecting):
    """Contrastive learning: two views of an input are positives, all other inputs of the batch are negatives.

    Args:
        backbone, head: the network.
        temperature: of the similarities.
        sides: `both`: all views are anchors, and all others their negatives; `one`: first views are anchors, and the second views
            of other inputs their negatives, as in SimCSE (Gao et al., 2021).
        negatives: options for the negatives.

    Raises:
        ValueError: options for the negatives with one side.
    """

    n_views = 2

    def __init__(
        self,
        backbone: Backbone,
        head: HeadFactory,
        temperature: Positive,
        sides: Literal["both", "one"],
        negatives: Negatives,
    ):
        super().__init__(backbone)
        for option in ("queue", "debias", "cancel"):
            if sides == "one" and getattr(negatives, option):
                raise ValueError(
                    f"negatives.{option}={getattr(negatives, option):g}: belongs to sides=both; set it to 0 with sides=one"
                )
        self.sides = sides
        self.head = head(inputs=backbone.dim)
        self.temperature = temperature
        self.negatives = negatives
        if negatives.queue:
            self.teacher = copy_as_teacher(self.backbone, self.head)
            self.queue = Queue(torch.zeros(negatives.queue, self.head.outputs))

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """NT-Xent of the projections, or its one side."""
        z0, z1 = (gather(z) for z in self.project(views))
        options = self.negatives
        if self.sides == "one":
            loss = one_sided(z0, z1, self.temperature)
        elif not (options.queue or options.debias or options.cancel):
            loss = nt_xent(z0, z1, self.temperature)
        else:
            queue = self.queue.filled() if options.queue else None
            loss = nt_xent_with(z0, z1, self.temperature, options.debias, options.cancel, queue)
            if options.queue:
                with torch.no_grad():
                    self.queue.add(gather(self.teacher(joined(views)).float()))
        return loss, {"spread": embedding_spread(torch.cat([z0, z1]))}

    def after_step(self, step: int, steps: int) -> None:
        """Update the EMA teacher that fills the queue, if there is one (He et al., 2020, equation 2)."""
        if self.negatives.queue:
            update_teacher(self.teacher, [self.backbone, self.head], self.negatives.momentum)
