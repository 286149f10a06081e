"""Inputs are classes of their own (Exemplar-CNN, Dosovitskiy et al., 2014), or clusters of them are."""

from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.types import UNKNOWN
from ssl_cli.methods.base import Features, Method, accuracy, embedding_spread

MANY = 20_000  # inputs, from which on clusters are found by batches of them


class Exemplar(Method):
    """Tell of which class a random view is: which input it was made of, or to which cluster of inputs that belongs.

    Views are drawn anew in each epoch, so an input has as many of them as there are epochs.

    Args:
        backbone, head: the network; what the head gives is classified.
        inputs: how many there are.
        seeds: how many of them, drawn once and for all, are classes of their own; all where there are fewer.
        clusters: of like inputs, which are the classes, all inputs taking part; None for `seeds`.
        features: what makes inputs alike: their `pixels`, or the folder of a finished pre-training, for its backbone's.

    Raises:
        ValueError: there are more clusters than inputs, or features without clusters.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head,
        inputs: int,
        seeds: Annotated[int, "[2, inf)"],
        clusters: Annotated[int, "[2, inf)"] | None,
        features: Literal["pixels"] | Path,
    ):
        super().__init__(backbone)
        if clusters is None and features != "pixels":
            raise ValueError(f"features={features} is what clusters are found by; give method.clusters a number")
        if clusters and clusters > inputs:
            raise ValueError(f"clusters={clusters}: there are {inputs:,} inputs to pre-train on; at most that many")
        self.clusters = clusters
        self.features = features
        self.classes = clusters or min(seeds, inputs)
        self.head = head(inputs=backbone.dim)
        self.classify = nn.Linear(self.head.outputs, self.classes)

    def surrogate_classes(self, count: int, features: Features, source: torch.Generator) -> Tensor:
        """The number of each input's cluster, or that of a seed among the seeds."""
        if self.clusters:
            return clustered(features(self.features), self.clusters, source)
        return drawn(count, self.classes, source)

    def loss(self, views: tuple[Tensor, ...], labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the class (section 3.2, equation 1), which `labels` are here; ln N at first."""
        (view,) = views
        projected = self.head(self.backbone(view))
        logits = self.classify(projected).float()
        return F.cross_entropy(logits, labels), {
            "pretext_accuracy": accuracy(logits, labels),
            "spread": embedding_spread(projected.float()),
        }


def drawn(count: int, seeds: int, source: torch.Generator) -> Tensor:
    """Some inputs are numbered, the others `UNKNOWN`: int64 (count,)."""
    numbers = torch.full((count,), UNKNOWN)
    numbers[torch.randperm(count, generator=source)[:seeds]] = torch.arange(seeds)
    return numbers


def clustered(features: Tensor, clusters: int, source: torch.Generator) -> Tensor:
    """The number of the cluster of each input, by k-means: (N, D) → int64 (N,).

    Features lose their mean, and then their length, so that what inputs share and how strong they are does not count.
    Some numbers may be missing where inputs are equal.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    directions = F.normalize(features - features.mean(0), dim=1).numpy()
    kind = KMeans if len(features) < MANY else MiniBatchKMeans
    first = int(torch.randint(2**31, (), generator=source))
    with threadpool_limits(1):  # with several, sums depend on which of them ends first
        found = kind(clusters, n_init=1, random_state=first).fit_predict(directions)
    return torch.from_numpy(found).long()
