"""Supervised pre-training on another data set (transfer learning; Yosinski et al., 2014)."""

from collections.abc import Callable
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import DatasetComponent, Shape
from ssl_cli.data.types import Dataset
from ssl_cli.methods.base import Projecting, accuracy, embedding_spread, given
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.randomness import Draws


class Transfer(Projecting):
    """Classify the labelled inputs of a source data set; the target's labels are not used.

    A projection head between the backbone and the source's classifier is discarded together with it: features before such a
    head transfer better than those right before the classifier (Wang et al., 2022).

    Args:
        backbone, head: the network.
        shape: of the target's inputs.
        read: loads the source.
        source: the labelled data set.
        label_smoothing: for the source's labels.

    Raises:
        ValueError: the source's inputs do not fit the network.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: HeadFactory,
        shape: Shape,
        read: Callable[[DatasetComponent], Dataset],
        source: DatasetComponent,
        label_smoothing: Annotated[float, "[0, 1)"],
    ):
        super().__init__(backbone)
        self.source = read(source)
        source_shape = self.source.shape
        if source_shape[0] != shape[0]:
            raise ValueError(
                f"source={source.name} has inputs of {source_shape[0]} channels, and the target of {shape[0]}; they "
                "must have as many"
            )
        try:
            backbone.check_sides(source_shape)
        except ValueError as error:
            raise ValueError(f"source={source.name}: {error}") from error
        self.head = head(inputs=backbone.dim)
        self.classify = nn.Linear(self.head.outputs, len(self.source.classes))
        self.label_smoothing = label_smoothing

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the source's labels, which are in `labels`."""
        (view,) = views
        labels = given(labels)
        projected = self.head(self.backbone(view))
        logits = self.classify(projected).float()
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing), {
            "pretext_accuracy": accuracy(logits, labels),
            "spread": embedding_spread(projected.float()),
        }
