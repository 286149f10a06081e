"""Every input is a class of its own (Exemplar-CNN, Dosovitskiy et al., 2014)."""

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.methods.base import Method, accuracy, embedding_spread
from ssl_cli.schema import Count


class Exemplar(Method):
    """Tell which of the seeds, inputs drawn once and for all, a random view was made of.

    Views are drawn anew in each epoch, so a seed has as many of them as there are epochs.

    Args:
        backbone, head: the network; what the head gives is classified.
        inputs: how many there are to choose seeds from.
        seeds: how many of them are classes; all where there are fewer.
    """

    def __init__(self, backbone: nn.Module, head, inputs: int, seeds: Count):
        super().__init__(backbone)
        self.seeds = min(seeds, inputs)
        self.head = head(inputs=backbone.dim)
        self.classify = nn.Linear(self.head.outputs, self.seeds)

    def loss(self, views: tuple[Tensor, ...], labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the seed's number (section 3.2, equation 1), which is what `labels` are here; ln N at first."""
        (view,) = views
        projected = self.head(self.backbone(view))
        logits = self.classify(projected).float()
        return F.cross_entropy(logits, labels), {
            "pretext_accuracy": accuracy(logits, labels),
            "spread": embedding_spread(projected.float()),
        }
