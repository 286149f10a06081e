"""Heads: what stands on a backbone, and which part of it survives into fine-tuning."""

import itertools
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from ssl_cli.config.build import build
from ssl_cli.config.schema import Count, Head
from ssl_cli.errors import ConfigError


class MLP(nn.Module):
    """Linear layers; batch norm and ReLU after all but the last.

    Args:
        inputs: features that come in.
        widths: of the layers; `inputs` is as wide as what comes in, `classes` is as wide as the task asks.
        batch_norm: also behind the linear layers.
        output: what the last layer ends in: nothing (`linear`), a `softmax`, or `batch_norm` with a factor and no
            offset (SimCLRv2).
        start: how the last layer begins: `random`, or at `zero` (SimCLRv2's classifiers).
        classes: the width of the last layer, where the task sets it.

    Raises:
        ValueError: the last width is `classes` and the task sets none.
    """

    def __init__(
        self,
        inputs: int,
        widths: list[Count | Literal["inputs", "classes"]],
        batch_norm: bool,
        output: Literal["linear", "softmax", "batch_norm"],
        start: Literal["random", "zero"],
        classes: int | None = None,
    ):
        super().__init__()
        if not widths or "classes" in widths[:-1] or (widths[-1] == "classes" and classes is None):
            raise ValueError(f"widths={widths}: must be numbers or `inputs`, and end in a number here")
        sizes = [inputs] + [inputs if width == "inputs" else width for width in widths]
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
                if start == "zero":
                    for parameter in linear.parameters():
                        nn.init.zeros_(parameter)
                last = {"linear": [], "softmax": [nn.Softmax(dim=1)], "batch_norm": [_factor_only(after)]}[output]
                self.layers.append(nn.Sequential(linear, *last))

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs) → (B, outputs)."""
        for layer in self.layers:
            features = layer(features)
        return features


def _factor_only(width: int) -> nn.BatchNorm1d:
    """Batch norm whose offset stays zero."""
    norm = nn.BatchNorm1d(width)
    norm.register_parameter("bias", None)
    return norm


class Standardise(nn.Module):
    """Every feature with mean 0 and deviation 1 on some features; what a linear classifier of frozen features needs.

    Args:
        features: (N, D), those that set mean and deviation.
    """

    def __init__(self, features: Tensor):
        super().__init__()
        deviation, mean = torch.std_mean(features, 0)
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation.nan_to_num(1).clamp_min(1e-6))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) → (B, D)."""
        return (features - self.mean) / self.deviation


class KeptHead(nn.Module):
    """The first layers of a projection head, and a classifier on top unless they already are one."""

    def __init__(self, kept: list[nn.Module], classifier: nn.Module | None):
        super().__init__()
        self.kept = nn.ModuleList(kept)
        self.classifier = classifier if classifier is not None else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) → (B, classes)."""
        for layer in self.kept:
            features = layer(features)
        return self.classifier(features)


def projection(head: Head):
    """The factory of projection heads that methods are given: `head(inputs=D)`, or `head(inputs=D, classes=C)`."""
    return partial(build, head.projection)


def classifier(head: Head, projected: MLP | None, dim: int, classes: int) -> KeptHead:
    """The head of fine-tuning: `head.keep` layers of a projection, and what it takes to give one output a class.

    The kept part is the classifier itself where all of it is kept and it ends in one output a class, as in the
    article; a hidden layer ends in a ReLU and is none.

    Args:
        head: the settings.
        projected: the projection head, pre-trained or not; None where nothing of it is kept.
        dim: features of the backbone.
        classes: outputs of the classifier.

    Raises:
        ConfigError: more layers should be kept than there are.
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
    return kept[-1][0].out_features if kept else dim


def saturation(probabilities: Tensor) -> float:
    """How far a softmax has saturated: the mean of p(1 − p), the slope it passes back, over its largest value 1/4.

    1 means halfway between both answers, 0 that no gradient passes. (B, C) → number.
    """
    return float((probabilities * (1 - probabilities)).max(dim=1).values.mean() * 4)
