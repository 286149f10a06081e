"""A network learns its own answers beside the labels (Lee, 2013)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.types import UNKNOWN
from ssl_cli.methods.base import Method


def ramp(done: Tensor, begin: float, full: float) -> Tensor:
    """0 up to `begin`, 1 from `full` on, a straight line between (Lee, 2013, α(t)): shares of all steps."""
    return ((done - begin) / (full - begin)).clamp(0, 1)


class PseudoLabel(Method):
    """A classifier under the cross-entropy of labels and, ever more, of its own first choices where there are none.

    Args:
        backbone, head: the network.
        weight: of the unlabelled part in the end (α_f).
        begin, full: between which shares of all steps that weight grows (T₁ and T₂).
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, weight: float, begin: float, full: float):
        super().__init__(backbone)
        self.head = head
        self.weight, self.begin, self.full = weight, begin, full
        self.register_buffer("done", torch.zeros(()))  # the share of all steps; a resumed run goes on with it

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, …) → logits (B, classes)."""
        return self.head(self.backbone(inputs))

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over labels + α · mean over the inputs without one (Lee, 2013); `UNKNOWN` marks those."""
        (view,) = views
        logits = self(view).float()
        unknown = labels == UNKNOWN
        of_labels = F.cross_entropy(logits, labels, ignore_index=UNKNOWN)
        of_choices = F.cross_entropy(logits, logits.argmax(1), reduction="none")
        alpha = self.weight * ramp(self.done, self.begin, self.full)
        loss = of_labels + alpha * (of_choices * unknown).sum() / unknown.sum()
        right = (logits.argmax(1) == labels).sum() / (~unknown).sum()
        return loss, {"accuracy": right, "unlabelled_weight": alpha}

    def after_step(self, step: int, steps: int) -> None:
        """How far the training is."""
        self.done.fill_((step + 1) / steps)
