"""Knowledge distillation (Hinton et al., 2015; SimCLRv2, Chen et al., 2020b, section 2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.types import UNKNOWN, View
from ssl_cli.methods.base import Classifier, accuracy, given
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.randomness import Draws


class Distillation(Classifier):
    """A classifier trained on a frozen teacher's soft predictions, and on labels if they are known.

    Args:
        backbone, head: the student.
        teacher: inputs → logits, on the student's device; frozen, and not saved in checkpoints.
        temperature: of both softmaxes.
        alpha: weight of the distillation loss; that of the labels is 1 − `alpha`.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, teacher: nn.Module, temperature: float, alpha: float):
        super().__init__(backbone)
        self.head = head
        self._teacher = (teacher.eval().requires_grad_(False),)  # in a tuple, so that it is no submodule
        self.temperature = temperature
        self.alpha = alpha

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, …) → logits (B, classes)."""
        return self.head(self.backbone(inputs))

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """α · cross-entropy against the teacher + (1 − α) · cross-entropy of the known labels, each divided by B.

        The student gets the first view and the teacher the last, which may be the same one. The metric `agreement` is the
        fraction of inputs for which both predict the same class.
        """
        logits = self(views[0]).float()
        with torch.no_grad():
            targets = F.softmax(self._teacher[0](views[-1]).float() / self.temperature, dim=1)
        loss = self.alpha * F.cross_entropy(logits / self.temperature, targets)
        if self.alpha < 1:
            known = F.cross_entropy(logits, given(labels), ignore_index=UNKNOWN, reduction="sum")
            loss = loss + (1 - self.alpha) * known / len(logits)
        return loss, {"agreement": accuracy(logits, targets.argmax(1))}
