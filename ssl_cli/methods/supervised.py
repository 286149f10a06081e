"""Supervised training: fine-tuning and the baseline, which differ only in their initial weights."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.types import View
from ssl_cli.methods.base import Classifier, accuracy, given
from ssl_cli.randomness import Draws


class Supervised(Classifier):
    """A classifier trained with cross-entropy.

    Args:
        backbone: images or texts → features.
        head: features → logits.
        label_smoothing: share of the target that goes to all classes alike.
        pretrained: layers whose weights come from a pre-training.
        pretrained_rate: the share of the learning rate at which they learn (discriminative fine-tuning; Howard and Ruder, 2018,
            section 3.2): labels are few, and a new head's first gradients mean little.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        label_smoothing: float,
        pretrained: Sequence[nn.Module] = (),
        pretrained_rate: float = 1.0,
    ):
        super().__init__(backbone)  # pyright: ignore[reportArgumentType]  # features need none: an identity stands there
        self.head = head
        self.label_smoothing = label_smoothing
        # Their parameters and not the layers, which would stand in the weights a second time.
        self._pretrained = [parameter for layer in pretrained for parameter in layer.parameters()]
        self.pretrained_rate = pretrained_rate

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Pre-trained parameters at their share of the learning rate, new ones at all of it."""
        if self.pretrained_rate == 1 or not self._pretrained:
            return super().parameter_groups()
        slow = {id(parameter) for parameter in self._pretrained}
        pretrained = [parameter for parameter in self.parameters() if id(parameter) in slow]
        new = [parameter for parameter in self.parameters() if id(parameter) not in slow]
        return [(self.pretrained_rate, pretrained), (1.0, new)]

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
