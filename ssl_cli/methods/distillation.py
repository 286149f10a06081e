"""A student learns a teacher's answers (Hinton et al., 2015; SimCLRv2, Chen et al., 2020b, section 2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.types import UNKNOWN
from ssl_cli.methods.base import Method, accuracy


class Distillation(Method):
    """A classifier under the cross-entropy of a frozen teacher's answers, and of labels where they are known.

    Args:
        backbone, head: the student.
        teacher: inputs → logits, on the student's device; it never changes and is not part of what is saved.
        temperature: of both networks' answers.
        alpha: the teacher's weight; labels weigh 1 − `alpha`.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, teacher: nn.Module, temperature: float, alpha: float):
        super().__init__(backbone)
        self.head = head
        self._teacher = (teacher.eval().requires_grad_(False),)  # in a tuple: no part of this module
        self.temperature = temperature
        self.alpha = alpha

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, …) → logits (B, classes)."""
        return self.head(self.backbone(inputs))

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """α · the teacher's cross-entropy over the batch + (1 − α) · that of the known labels, each divided by B.

        The student sees the first view and the teacher the last, which may be the same one. `agreement` is how often
        their first choice is the same.
        """
        logits = self(views[0]).float()
        with torch.no_grad():
            wanted = F.softmax(self._teacher[0](views[-1]).float() / self.temperature, dim=1)
        loss = self.alpha * F.cross_entropy(logits / self.temperature, wanted)
        if self.alpha < 1:
            known = F.cross_entropy(logits, labels, ignore_index=UNKNOWN, reduction="sum")
            loss = loss + (1 - self.alpha) * known / len(logits)
        return loss, {"agreement": accuracy(logits, wanted.argmax(1))}
