"""Labels of another data set (transfer learning; Yosinski et al., 2014)."""

from collections.abc import Callable
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import DatasetComponent, Shape
from ssl_cli.data.types import Dataset
from ssl_cli.methods.base import Method, accuracy, embedding_spread
from ssl_cli.models.backbones.base import Backbone


class Transfer(Method):
    """Tell the classes of a source apart, by its labels; the target's labels stay unseen.

    A projection head stands between the backbone and the classifier of the source, which is thrown away with it: features
    before such a head transfer better than those right below the classes (Wang et al., 2022).

    Args:
        backbone, head: the network.
        shape: of the target's inputs.
        read: gives the source.
        source: the data set with the labels.
        label_smoothing: of the source's labels.

    Raises:
        ValueError: the source's inputs do not fit the network.
    """

    def __init__(
        self,
        backbone: Backbone,
        head,
        shape: Shape,
        read: Callable[[DatasetComponent], Dataset],
        source: DatasetComponent,
        label_smoothing: Annotated[float, "[0, 1)"],
    ):
        super().__init__(backbone)
        self.source = read(source)
        theirs = self.source.shape
        if theirs[0] != shape[0]:
            raise ValueError(
                f"source={source.name} has inputs of {theirs[0]} channels, and the target of {shape[0]}; they "
                "must have as many"
            )
        try:
            backbone.check_sides(theirs)
        except ValueError as error:
            raise ValueError(f"source={source.name}: {error}") from error
        self.head = head(inputs=backbone.dim)
        self.classify = nn.Linear(self.head.outputs, len(self.source.classes))
        self.label_smoothing = label_smoothing

    def loss(self, views: tuple[Tensor, ...], labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the source's class, which is what `labels` are here."""
        (view,) = views
        projected = self.head(self.backbone(view))
        logits = self.classify(projected).float()
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing), {
            "pretext_accuracy": accuracy(logits, labels),
            "spread": embedding_spread(projected.float()),
        }
