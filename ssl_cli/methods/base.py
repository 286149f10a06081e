"""The interface of a training objective."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.token_batch import joined
from ssl_cli.data.types import Dataset, View
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import ProjectionHead
from ssl_cli.processes import average
from ssl_cli.randomness import Draws

# Features (N, D) of inputs without augmentation: their `pixels`, or those of the backbone in a finished pre-training's folder.
Features = Callable[[str | Path], Tensor]


@dataclass(frozen=True)
class Answers:
    """Targets and predictions of a pretext task with a few classes, for a confusion matrix.

    what: a class in a word, such as `rotation`; names: of the classes; targets, predictions: int64 (N,), indices into `names`.
    """

    what: str
    names: tuple[str, ...]
    targets: Tensor
    predictions: Tensor


class Method(nn.Module):
    """A training objective: a backbone, the layers on top of it, and a loss of augmented views.

    A subclass is one file and one YAML in `conf/method`. `n_views` is the number of random views of each input that `loss`
    gets. The constructor receives those of the following that its signature names:

    - `backbone`, and `head`, the factory of projection heads: `head(inputs=D)` or `head(inputs=D, classes=C)`;
    - `shape`: channels, height, width of images, and `scale`: their pixels are 0 to this; or `vocabulary`: of texts. A method
      that names one of them is for such inputs only;
    - `inputs`: number of inputs to pre-train on;
    - `cases`: which of them belong together, or None; a method that names it gets views of two inputs of the same case;
    - `translations`: the same for texts; a method that names it gets every text, beside another of its case if `pairs` is set;
    - `read`: loads another data set.

    All other parameters are its settings. For settings that do not fit, the constructor raises a ValueError whose message is
    shown to the user. It also runs on the meta device before any data is read, so it must not depend on values of tensors.

    `head` is the projection head, whose layers fine-tuning may keep, or None. `source` is another data set, whose labels the
    method learns instead of the inputs of `dataset`, or None. `language_power` is that to which the shares of languages are
    raised, by which texts are drawn, or None where each is seen once an epoch. `held_out` is the share of the texts of each
    language that is not trained on, whose perplexity `token_losses` gives. `any_resolution` says that
    views may be smaller than the images, since the method asks nothing of pixels.
    """

    n_views = 1
    source: Dataset | None = None
    pairs: bool = False
    language_power: float | None = None
    held_out: float = 0.0
    any_resolution: bool = False

    backbone: Backbone
    head: ProjectionHead | None

    def __init__(self, backbone: Backbone):
        super().__init__()
        self.backbone = backbone
        self.head = None

    def check_views(self, views: Any) -> None:
        """Raises ValueError if these augmentations would make the task impossible."""

    def loss(self, views: tuple[Any, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, a scalar, and metrics to log.

        Where several processes train together, each gets its share of the batch, and what it gives is averaged over them,
        gradients too. A mean over the inputs needs nothing for that. What depends on other inputs of the batch takes them from
        `ssl_cli.processes.gather`, and a mean over a number of things that differs counts by `ssl_cli.processes.weight`.

        Args:
            views: `n_views` of float (B, C, H, W), or of packed texts.
            labels: int64 (B,); None in pre-training, unless there are `surrogate_classes` or a `source`.
            draws: the only source of random numbers, on the views' device.
        """
        raise NotImplementedError

    def saved(self) -> dict[str, nn.Module]:
        """What a run keeps beside the backbone, by the names of files; a later pre-training begins with it, where it fits."""
        return {} if self.head is None else {"head": self.head}

    def surrogate_classes(self, count: int, features: Features, source: torch.Generator) -> Tensor | None:
        """Surrogate classes, computed once before training; None for methods that need none.

        Args:
            count: number of inputs to pre-train on.
            features: function that gives their features.
            source: random generator for all draws.

        Returns:
            int64 (count,), counted from 0; `UNKNOWN` for inputs that are left out of training.
        """
        return None

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """What is trained, by the share of the learning rate at which it learns."""
        return [(1.0, list(self.parameters()))]

    def project(self, views: tuple[View, ...]) -> tuple[Tensor, ...]:
        """Projections of all views, which pass through the network as one batch: float32 (B, D) each."""
        if self.head is None:
            raise TypeError(f"{type(self).__name__} has no projection head")
        return self.head(self.backbone(joined(views))).float().chunk(len(views))

    def token_losses(self, view: Any, draws: Draws) -> dict[str, tuple[Tensor, Tensor]]:
        """Of packed texts the cross-entropy of each predicted token, (M,), and the text it is of, (M,), by a task's name."""
        return {}

    def after_step(self, step: int, steps: int) -> None:
        """Update what learns without a gradient, after optimiser step `step` of `steps`."""

    def pictures(self, views: tuple[Any, ...], draws: Draws) -> dict[str, Any]:
        """Rows that show the task, by name: images (N, C, H, W) in the pixel range of the views, or lists of N texts."""
        return {}

    def answers(self, views: tuple[Any, ...], draws: Draws) -> Answers | None:
        """Targets and predictions of the pretext task on these views, if it has a few classes."""
        return None


class Projecting(Method):
    """A method whose loss uses the projection head itself: its constructor sets one."""

    any_resolution = True

    head: ProjectionHead  # pyright: ignore[reportIncompatibleVariableOverride]  # never None


class Classifier(Method):
    """A method that is trained on labels: its head is the classifier."""

    any_resolution = True

    head: nn.Module  # pyright: ignore[reportIncompatibleVariableOverride]  # any layers that end in classes


def given(labels: Tensor | None) -> Tensor:
    """The labels of a batch, for losses that learn from them.

    Raises:
        ValueError: there are none.
    """
    if labels is None:
        raise ValueError("this loss learns from labels, and the batch has none")
    return labels


def to_float64(numbers: Tensor) -> Tensor:
    """As float64, or float32 on MPS, which has no float64."""
    return numbers.float() if numbers.device.type == "mps" else numbers.double()


@torch.no_grad()
def embedding_spread(embeddings: Tensor) -> Tensor:
    """1 − ‖mean of the unit embeddings‖²: 0 if all are equal (collapse), near 1 if spread evenly. (B, D) → scalar.

    Equal to the mean of 1 − cosine over all pairs, including each embedding with itself. Those of all processes count.
    """
    mean = average(F.normalize(to_float64(embeddings), dim=1).mean(0))
    return (1 - mean.square().sum()).clamp_min(0).float()


@torch.no_grad()
def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Fraction of correct predictions: logits (B, C), labels (B,) → scalar."""
    return (logits.argmax(1) == labels).float().mean()
