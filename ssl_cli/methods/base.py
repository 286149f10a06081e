"""The interface of a training objective."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.types import Dataset

# Features (N, D) of inputs as they are: their `pixels`, or what the backbone in a finished pre-training's folder gives.
Features = Callable[[str | Path], Tensor]


@dataclass(frozen=True)
class Answers:
    """What was asked of a network and what it said, where its task is to name one of a few classes.

    thing: what a class is, in a word; names: of the classes; wanted, said: int64 (N,), numbers into `names`.
    """

    thing: str
    names: tuple[str, ...]
    wanted: Tensor
    said: Tensor


class Method(nn.Module):
    """What is trained, and on what: a backbone, whatever stands on it, and a loss of views.

    A subclass is one file and one YAML in `conf/method`. `n_views` says how many random views of each input it wants. Its
    constructor is given what it names of

    - `backbone`, and `head`, the factory of projection heads: `head(inputs=D)` or `head(inputs=D, classes=C)`;
    - `shape`: channels, height, width of the inputs; `scale`: their pixels are 0 to this;
    - `inputs`: how many there are to pre-train on;
    - `cases`: which of them belong together, or None; one that names it gets views of two inputs of the same case;
    - `read`: gives another data set.

    The rest is its settings. What does not fit, the constructor refuses by a ValueError, whose text is the sentence that a
    person reads. It is tried on the meta device before any data is read, so it computes nothing from the values of tensors.

    `head` is the projection head, of which fine-tuning may keep layers; None where there is none. `source` is another data
    set, whose labels a method learns in place of the inputs at hand, or None.
    """

    n_views = 1
    source: Dataset | None = None

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.head: nn.Module | None = None

    def check_views(self, views: Any) -> None:
        """Raises ValueError where views of these settings would spoil the task."""

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise, and numbers worth logging.

        Args:
            views: `n_views` of float (B, C, H, W).
            labels: int64 (B,); None in pre-training, but for `surrogate_classes` and the classes of `source`.
        """
        raise NotImplementedError

    def surrogate_classes(self, count: int, features: Features, source: torch.Generator) -> Tensor | None:
        """Classes that stand in for labels, found once before training; None where views are all that is needed.

        Args:
            count: of the inputs to pre-train on.
            features: of these inputs.
            source: of all that is drawn.

        Returns:
            int64 (count,), from 0 on; `UNKNOWN` for inputs that take no part in the training.
        """
        return None

    def projected(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The projections of all views, which pass through the network as one batch: float32 (B, D) each."""
        return self.head(self.backbone(torch.cat(views))).float().chunk(len(views))

    def after_step(self, step: int, steps: int) -> None:
        """What moves without a gradient, after optimiser step `step` of `steps`."""

    def pictures(self, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """What one would look at to see what was learnt: names, and (N, C, H, W) in the range of the views."""
        return {}

    def answers(self, views: tuple[Tensor, ...]) -> Answers | None:
        """What is asked of these views and what the network says, where that makes a table one would look at."""
        return None


def finest(numbers: Tensor) -> Tensor:
    """In the finest float that the device has."""
    return numbers.float() if numbers.device.type == "mps" else numbers.double()


@torch.no_grad()
def embedding_spread(embeddings: Tensor) -> Tensor:
    """1 − ‖mean of the unit embeddings‖²: 0 when all are equal (collapse), near 1 when spread evenly. (B, D) → scalar.

    It is the mean of 1 − cosine over all pairs, an embedding with itself included.
    """
    mean = F.normalize(finest(embeddings), dim=1).mean(0)
    return (1 - mean.square().sum()).clamp_min(0).float()


@torch.no_grad()
def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of right answers: (B, C), (B,) → scalar."""
    return (logits.argmax(1) == labels).float().mean()
