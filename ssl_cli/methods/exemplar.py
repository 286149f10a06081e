"""Instance discrimination (Exemplar-CNN, Dosovitskiy et al., 2014): each input, or each k-means cluster of inputs, is a class."""

from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.types import UNKNOWN
from ssl_cli.methods.base import Features, Projecting, accuracy, embedding_spread, given
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.randomness import Draws

MINI_BATCH_FROM = 20_000  # inputs from which on k-means works on mini-batches


class Exemplar(Projecting):
    """Classify a random view by the input it was made from, or by the cluster of that input.

    Views are drawn anew in each epoch, so the number of views per input is the number of epochs.

    Args:
        backbone, head: the network; a linear classifier follows the head.
        inputs: number of training inputs.
        seeds: number of inputs, drawn once, that are a class each (the paper's seed patches); all if there are fewer.
        clusters: number of k-means clusters, which are the classes of all inputs; None for `seeds`.
        features: what is clustered: `pixels`, or the backbone's features in the folder of a finished pre-training.

    Raises:
        ValueError: there are more clusters than inputs, or features are given without clusters.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: HeadFactory,
        inputs: int,
        seeds: Annotated[int, "[2, inf)"],
        clusters: Annotated[int, "[2, inf)"] | None,
        features: Literal["pixels"] | Path,
    ):
        super().__init__(backbone)
        if clusters is None and features != "pixels":
            raise ValueError(f"features={features} is for k-means; set method.clusters to a number of clusters")
        if clusters and clusters > inputs:
            raise ValueError(f"clusters={clusters}: there are {inputs:,} inputs to pre-train on; at most that many")
        self.clusters = clusters
        self.features = features
        self.classes = clusters or min(seeds, inputs)
        self.head = head(inputs=backbone.dim)
        self.classify = nn.Linear(self.head.outputs, self.classes)

    def surrogate_classes(self, count: int, features: Features, source: torch.Generator) -> Tensor:
        """The cluster of each input, or the index of each seed."""
        if self.clusters:
            return cluster(features(self.features), self.clusters, source)
        return draw_seeds(count, self.classes, source)

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy (section 3.2, equation 1) of the surrogate class, which is in `labels`; ln N at the start."""
        (view,) = views
        labels = given(labels)
        projected = self.head(self.backbone(view))
        logits = self.classify(projected).float()
        return F.cross_entropy(logits, labels), {
            "pretext_accuracy": accuracy(logits, labels),
            "spread": embedding_spread(projected.float()),
        }


def draw_seeds(count: int, seeds: int, source: torch.Generator) -> Tensor:
    """Number `seeds` random inputs from 0, the others are `UNKNOWN`: int64 (count,)."""
    numbers = torch.full((count,), UNKNOWN)
    numbers[torch.randperm(count, generator=source)[:seeds]] = torch.arange(seeds)
    return numbers


def cluster(features: Tensor, clusters: int, source: torch.Generator) -> Tensor:
    """Spherical k-means: the cluster of each input, (N, D) → int64 (N,).

    Features are centred, then normalised, so that neither their common part nor their magnitude counts.
    Some clusters may be empty if inputs are equal.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    directions = F.normalize(features - features.mean(0), dim=1).numpy()
    kind = KMeans if len(features) < MINI_BATCH_FROM else MiniBatchKMeans
    first = int(torch.randint(2**31, (), generator=source))
    with threadpool_limits(1):  # with several threads, sums would depend on the order in which they finish
        means = kind(clusters, n_init=1, random_state=first)  # pyright: ignore[reportArgumentType]  # its stubs take str only
        found = means.fit_predict(directions)
    return torch.from_numpy(found).long()
