"""Heads: projection heads and classifiers on top of a backbone, and the layers that fine-tuning keeps."""

import itertools
from functools import partial
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from ssl_cli.config.build import build
from ssl_cli.config.schema import Count, Head
from ssl_cli.errors import ConfigError


class ProjectionHead(nn.Module):
    """What a projection head has: `layers`, each of which begins with a linear one, and the width of the last as `outputs`."""

    layers: nn.ModuleList
    outputs: int


class HeadFactory(Protocol):
    """Makes a projection head for a number of inputs; with `classes`, of that many outputs."""

    def __call__(self, *, inputs: int, classes: int | None = None) -> ProjectionHead:
        """The head, with random weights."""
        ...


class MLP(ProjectionHead):
    """Linear layers; batch norm and ReLU after all but the last.

    Args:
        inputs: number of input features.
        widths: of the layers; `inputs` stands for the number of input features, `classes` for the number of classes.
        batch_norm: after each linear layer but the last.
        output: what follows the last linear layer: nothing (`linear`), a `softmax`, or `batch_norm` without an offset
            (SimCLRv2).
        last_layer_init: `random` (PyTorch's default) or `zero` (SimCLRv2's classifiers).
        classes: width of the last layer, if the task decides it.

    Raises:
        ValueError: the last width is `classes` and the task has none.
    """

    def __init__(
        self,
        inputs: int,
        widths: list[Count | Literal["inputs", "classes"]],
        batch_norm: bool,
        output: Literal["linear", "softmax", "batch_norm"],
        last_layer_init: Literal["random", "zero"],
        classes: int | None = None,
    ):
        super().__init__()
        if not widths or "classes" in widths[:-1] or (widths[-1] == "classes" and classes is None):
            raise ValueError(f"widths={widths}: must be numbers or `inputs`, and end in a number here")
        sizes = [inputs, *(inputs if isinstance(width, str) else width for width in widths)]
        if classes is not None:
            sizes[-1] = classes
        self.outputs = sizes[-1]
        self.layers = nn.ModuleList()
        for position, (before, after) in enumerate(itertools.pairwise(sizes), start=1):
            if position < len(widths):
                norm = [nn.BatchNorm1d(after)] if batch_norm else []
                self.layers.append(nn.Sequential(nn.Linear(before, after, bias=not batch_norm), *norm, nn.ReLU()))
            else:
                linear = nn.Linear(before, after, bias=output != "batch_norm")
                if last_layer_init == "zero":
                    for parameter in linear.parameters():
                        nn.init.zeros_(parameter)
                last = {"linear": [], "softmax": [nn.Softmax(dim=1)], "batch_norm": [_without_offset(after)]}[output]
                self.layers.append(nn.Sequential(linear, *last))

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs) → (B, outputs)."""
        for layer in self.layers:
            features = layer(features)
        return features


def _without_offset(width: int) -> nn.BatchNorm1d:
    """Batch norm with a learnt scale and no offset."""
    norm = nn.BatchNorm1d(width)
    norm.register_parameter("bias", None)
    return norm


class Standardise(nn.Module):
    """Standardise features by the mean and standard deviation of a training set, as a linear classifier of frozen features needs.

    Args:
        features: (N, D), the training set.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: Tensor):
        super().__init__()
        std, mean = torch.std_mean(features, 0)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std.nan_to_num(1).clamp_min(1e-6))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) → (B, D)."""
        return (features - self.mean) / self.std


class KeptHead(nn.Module):
    """The first layers of a projection head, then a classifier unless the kept layers already are one."""

    def __init__(self, kept: list[nn.Module], classifier: nn.Module | None):
        super().__init__()
        self.kept = nn.ModuleList(kept)
        self.classifier = classifier if classifier is not None else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) → (B, classes)."""
        for layer in self.kept:
            features = layer(features)
        return self.classifier(features)


def projection(head: Head) -> HeadFactory:
    """The factory of projection heads that methods receive: `head(inputs=D)`, or `head(inputs=D, classes=C)`."""
    return partial(build, head.projection)


def classifier(head: Head, projected: ProjectionHead | None, dim: int, classes: int) -> KeptHead:
    """The head of fine-tuning: the first `head.keep` layers of a projection head, then a classifier.

    If the whole projection head is kept and has one output per class, as in the article, it is the classifier itself;
    a hidden layer ends in a ReLU and is not.

    Args:
        head: the settings.
        projected: the projection head, pre-trained or not; None if no layer is kept.
        dim: number of backbone features.
        classes: number of outputs.

    Raises:
        ConfigError: `head.keep` exceeds the number of projection layers.
    """
    if projected is None:
        return KeptHead([], build(head.classifier, inputs=dim, classes=classes))
    total = len(projected.layers)
    keep = total if head.keep == "all" else head.keep
    if keep > total:
        raise ConfigError(f"head.keep={keep}: head={head.name} has {total} projection layers")
    kept = list(projected.layers[:keep])
    if keep == total and projected.outputs == classes:
        return KeptHead(kept, None)
    width = _width_after(kept, dim)
    return KeptHead(kept, build(head.classifier, inputs=width, classes=classes))


def _width_after(kept: list[nn.Module], dim: int) -> int:
    return cast(nn.Linear, next(kept[-1].children())).out_features if kept else dim


def saturation(probabilities: Tensor) -> float:
    """The slope p(1 − p) of a softmax, mean over the batch of each row's largest, relative to its maximum 1/4.

    1: undecided, gradients pass in full; 0: saturated, no gradient passes. (B, C) → number.
    """
    return float((probabilities * (1 - probabilities)).max(dim=1).values.mean() * 4)
