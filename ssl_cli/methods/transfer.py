"""Labels of another data set (transfer learning; Yosinski et al., 2014)."""

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.datasets import labelled, load
from ssl_cli.methods.base import Method, accuracy, embedding_spread
from ssl_cli.schema import DatasetComponent


class Transfer(Method):
    """Tell the classes of a source apart, by its labels; the target's labels stay unseen.

    A projection head stands between the backbone and the classifier of the source, which is thrown away with it: features
    before such a head transfer better than those right below the classes (Wang et al., 2022).

    Args:
        backbone, head: the network.
        source: the data set with the labels.
        label_smoothing: of the source's labels.

    Raises:
        ConfigError: the source cannot be read, or has no labels.
    """

    def __init__(
        self, backbone: nn.Module, head, source: DatasetComponent, label_smoothing: Annotated[float, "[0, 1)"]
    ):
        super().__init__(backbone)
        read = load(source)
        self.source = labelled(read, f"dataset@method.source={source.name}")
        self.head = head(inputs=backbone.dim)
        self.classify = nn.Linear(self.head.outputs, len(read.classes))
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
