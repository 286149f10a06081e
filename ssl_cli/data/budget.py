"""The choice of labels for a budget.

Each kind of budget is an order of the labelled inputs, of which a budget of n labels takes the first n. So for one seed, budgets
are nested: the 100 labels are among the 200. The order of `listed` is that of its file.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_cli.config.schema import Budget
from ssl_cli.data.listed_items import listed_items
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
        """All items whose labels are used."""
        return torch.cat([self.train, self.validation])

    def hash(self) -> str:
        """A hash of the items of both parts."""
        text = ",".join(map(str, self.train.tolist())) + "|" + ",".join(map(str, self.validation.tolist()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def choose(dataset: Dataset, budget: Budget, seed: int) -> Chosen:
    """Choose the items of a budget.

    Raises:
        ConfigError: the data has fewer labels than the budget, too few of a class for a balanced one, or no label of an input
            that is listed.
    """
    labels = dataset.train.labels
    order = (
        _listed(dataset, budget)
        if budget.kind == "listed"
        else label_order(labels, budget.kind, generator(seed, "budget"))
    )
    count = budget.labels or round((budget.fraction or 1.0) * len(order))
    if not 1 <= count <= len(order):
        there = "budget.file lists" if budget.kind == "listed" else "the data has"
        raise ConfigError(f"budget.labels={count}: {there} {len(order):,} labelled inputs")
    chosen = order[:count]
    if budget.kind == "balanced":
        _require_balance(labels[chosen], dataset.classes)
    held_out = round(budget.validation * count)
    return Chosen(chosen[: count - held_out], chosen[count - held_out :])


def _listed(dataset: Dataset, budget: Budget) -> Tensor:
    """The items that the budget's file lists, in its order.

    Raises:
        ConfigError: one of them is no training input, or its label is not known.
    """
    if budget.file is None:
        raise ConfigError("budget.file=null: budget=listed needs a table of inputs")
    items = torch.tensor(list(listed_items("budget.file", budget.file, dataset)))
    strange = items[dataset.train.labels[items] == UNKNOWN].tolist()
    if strange:
        name = dataset.files.train[strange[0]] if dataset.files else f"item {strange[0]}"
        raise ConfigError(
            f"budget.file={budget.file}: lists {len(strange):,} inputs whose label dataset={dataset.name} does not know, "
            f"such as {name}"
        )
    return items


def unlabelled_items(dataset: Dataset, budget: Budget, seed: int) -> Tensor | None:
    """The training inputs to pre-train on, int64 (M,); None for all of them, including those in the budget."""
    if budget.pretrain_on == "all":
        return None
    seen = torch.ones(len(dataset.train), dtype=torch.bool)
    seen[choose(dataset, budget, seed).all] = False
    return seen.nonzero()[:, 0]


def label_order(labels: Tensor, kind: str, source: torch.Generator) -> Tensor:
    """The labelled items in the order in which a growing budget takes them.

    Args:
        labels: int64 (N,), −1 where unknown.
        kind: `balanced` takes classes in turn, `fraction` in proportion to their sizes; `random` shuffles; `first` and
            `all` keep the order of the file.
        source: random generator.
    """
    known = (labels != UNKNOWN).nonzero()[:, 0]
    if kind in ("first", "all"):
        return known
    shuffled = known[torch.randperm(len(known), generator=source)]
    if kind == "random":
        return shuffled
    turn = torch.empty(len(shuffled), dtype=torch.float64)
    classes = labels[shuffled].unique()
    for position, label in enumerate(classes[torch.randperm(len(classes), generator=source)]):
        members = (labels[shuffled] == label).nonzero()[:, 0]
        rank = torch.arange(len(members), dtype=torch.float64)
        place = (rank + 0.5) / len(members) if kind == "fraction" else rank
        turn[members] = place + 1e-9 * position
    return shuffled[turn.argsort(stable=True)]


def drawn(items: Tensor, most: int, seed: int) -> Tensor:
    """At most so many of some items, in their order, drawn by the seed: every n-th of a balanced budget can be of one class."""
    if len(items) <= most:
        return items
    return items[torch.randperm(len(items), generator=generator(seed, "drawn"))[:most].sort().values]


def _require_balance(chosen: Tensor, classes: tuple[str, ...]) -> None:
    counts = torch.bincount(chosen, minlength=len(classes))
    if counts.max() - counts.min() > 1:
        rarest = int(counts.argmin())
        raise ConfigError(
            f"budget.labels={len(chosen)}: budget=balanced cannot give every class as many, class {classes[rarest]} has "
            f"{int(counts.min()):,} labels; use at most {int(counts.min()) * len(classes):,}, or budget=fraction or random"
        )
