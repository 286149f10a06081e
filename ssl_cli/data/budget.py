"""Which labels may be seen.

Each kind of budget is an order of the labelled inputs, and a budget of n labels is its first n: so 100 labels lie inside
200 for one seed.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_cli.config.schema import Budget
from ssl_cli.data.types import UNKNOWN, Dataset
from ssl_cli.errors import ConfigError
from ssl_cli.randomness import generator


@dataclass(frozen=True)
class Chosen:
    """The chosen items, int64 indices into the training split: those to train on and those to validate with."""

    train: Tensor
    validation: Tensor

    def __len__(self) -> int:
        return len(self.train) + len(self.validation)

    @property
    def all(self) -> Tensor:
        """Every item whose label was seen."""
        return torch.cat([self.train, self.validation])

    def hash(self) -> str:
        """The same for the same items in the same parts."""
        text = ",".join(map(str, self.train.tolist())) + "|" + ",".join(map(str, self.validation.tolist()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def choose(dataset: Dataset, budget: Budget, seed: int) -> Chosen:
    """The items of a budget.

    Raises:
        ConfigError: the data has fewer labels than the budget, or too few of a class for a balanced one.
    """
    labels = dataset.train.labels
    order = label_order(labels, budget.kind, generator(seed, "budget"))
    count = budget.labels or round((budget.fraction or 1.0) * len(order))
    if not 1 <= count <= len(order):
        raise ConfigError(f"budget.labels={count}: the data has {len(order):,} labelled inputs")
    chosen = order[:count]
    if budget.kind == "balanced":
        _require_balance(labels[chosen], dataset.classes)
    held_out = round(budget.validation * count)
    return Chosen(chosen[: count - held_out], chosen[count - held_out :])


def unlabelled_items(dataset: Dataset, budget: Budget, seed: int) -> Tensor | None:
    """The training inputs to pre-train on, int64 (M,); None for all of them, those in the budget too."""
    if budget.pretrain_on == "all":
        return None
    seen = torch.ones(len(dataset.train), dtype=torch.bool)
    seen[choose(dataset, budget, seed).all] = False
    return seen.nonzero()[:, 0]


def label_order(labels: Tensor, kind: str, source: torch.Generator) -> Tensor:
    """The labelled items in the order in which a growing budget takes them.

    Args:
        labels: int64 (N,), −1 where unknown.
        kind: `balanced` deals the classes out in turn, `fraction` in proportion to their sizes; `random` mixes all;
            `first` and `all` keep the file's order.
        source: the draw.
    """
    known = (labels != UNKNOWN).nonzero()[:, 0]
    if kind in ("first", "all"):
        return known
    mixed = known[torch.randperm(len(known), generator=source)]
    if kind == "random":
        return mixed
    turn = torch.empty(len(mixed), dtype=torch.float64)
    classes = labels[mixed].unique()
    for position, label in enumerate(classes[torch.randperm(len(classes), generator=source)]):
        members = (labels[mixed] == label).nonzero()[:, 0]
        rank = torch.arange(len(members), dtype=torch.float64)
        share = (rank + 0.5) / len(members) if kind == "fraction" else rank
        turn[members] = share + 1e-9 * position
    return mixed[turn.argsort(stable=True)]


def _require_balance(chosen: Tensor, classes: tuple[str, ...]) -> None:
    counts = torch.bincount(chosen, minlength=len(classes))
    if counts.max() - counts.min() > 1:
        rarest = int(counts.argmin())
        raise ConfigError(
            f"budget.labels={len(chosen)}: budget=balanced cannot give every class as many, class {classes[rarest]} has "
            f"{int(counts.min()):,} labels; use at most {int(counts.min()) * len(classes):,}, or budget=fraction or random"
        )
