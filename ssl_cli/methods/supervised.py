"""Supervised training: fine-tuning and the baseline, which differ only in their initial weights."""

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.types import View
from ssl_cli.methods.base import Classifier, accuracy, given
from ssl_cli.randomness import Draws


class Supervised(Classifier):
    """A classifier trained with cross-entropy."""

    def __init__(self, backbone: nn.Module, head: nn.Module, label_smoothing: float):
        super().__init__(backbone)  # pyright: ignore[reportArgumentType]  # features need none: an identity stands there
        self.head = head
        self.label_smoothing = label_smoothing

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, …) → logits (B, classes)."""
        return self.head(self.backbone(inputs))

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, and training accuracy as a metric."""
        (view,) = views
        labels = given(labels)
        logits = self(view).float()
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing), {
            "accuracy": accuracy(logits, labels)
        }
