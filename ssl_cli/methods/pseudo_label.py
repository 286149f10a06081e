"""Pseudo-labels: a network learns its own predictions in addition to the labels (Lee, 2013)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.types import UNKNOWN, View
from ssl_cli.methods.base import Classifier, given
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.randomness import Draws


def ramp(progress: Tensor, ramp_start: float, ramp_end: float) -> Tensor:
    """0 up to `ramp_start`, 1 from `ramp_end` on, linear in between, in fractions of all steps (α(t) in Lee, 2013)."""
    return ((progress - ramp_start) / (ramp_end - ramp_start)).clamp(0, 1)


class PseudoLabel(Classifier):
    """A classifier trained on labels and, with a weight that grows, on its own predicted classes where there are none.

    Args:
        backbone, head: the network.
        unlabelled_weight: final weight of the unlabelled loss (α_f).
        ramp_start, ramp_end: fractions of all steps between which that weight grows from 0 (T₁ and T₂).
    """

    progress: Tensor  # fraction of all steps; a buffer, so that a resumed run continues

    def __init__(
        self, backbone: Backbone, head: nn.Module, unlabelled_weight: float, ramp_start: float, ramp_end: float
    ):
        super().__init__(backbone)
        self.head = head
        self.unlabelled_weight, self.ramp_start, self.ramp_end = unlabelled_weight, ramp_start, ramp_end
        self.register_buffer("progress", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, …) → logits (B, classes)."""
        return self.head(self.backbone(inputs))

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over labelled + α · mean over unlabelled inputs (Lee, 2013), which `UNKNOWN` marks."""
        (view,) = views
        labels = given(labels)
        logits = self(view).float()
        unknown = labels == UNKNOWN
        of_labels = F.cross_entropy(logits, labels, ignore_index=UNKNOWN)
        of_predictions = F.cross_entropy(logits, logits.argmax(1), reduction="none")
        alpha = self.unlabelled_weight * ramp(self.progress, self.ramp_start, self.ramp_end)
        loss = of_labels + alpha * (of_predictions * unknown).sum() / unknown.sum()
        right = (logits.argmax(1) == labels).sum() / (~unknown).sum()
        return loss, {"accuracy": right, "unlabelled_weight": alpha}

    def after_step(self, step: int, steps: int) -> None:
        """Record how far the training is."""
        self.progress.fill_((step + 1) / steps)
