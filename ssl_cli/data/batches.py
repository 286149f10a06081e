"""Batches as a function of the step, without state, so that a run can resume at any step.

Where several processes train together, `at` gives each its share of the batch, and reads no other inputs; sizes are those of the
whole batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_cli.data.language_sampling import resampled
from ssl_cli.data.permutation import permuted
from ssl_cli.data.tokens import Tokens, together
from ssl_cli.data.types import UNKNOWN, Batch, Inputs, as_tensor
from ssl_cli.processes import own
from ssl_cli.randomness import generator

# Inputs from which on an epoch's order is computed place by place; stored, it would take 128 MiB.
COMPUTED_FROM = 1 << 24


class Batches:
    """Full batches from some items of a split; the remainder of an epoch is dropped, and differs from epoch to epoch.

    Args:
        inputs: N of them, on any device or mapped from a file.
        labels: int64 (N,), or None if they must not be used.
        items: int64 (M,), indices of the items; None for all.
        size: batch size; at most M.
        order: `shuffle` (anew each epoch) or `file`.
        seed: for shuffling.
        steps_per_epoch: fewer than all full batches; None for all.
        languages: int64 (N,), of texts whose languages are drawn with `order=shuffle`, in proportion to their share to `power`;
            None: every item is there once an epoch.
        power: 1 gives each language its share, 0 all the same.
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: Tensor | None,
        items: Tensor | None,
        size: int,
        order: str,
        seed: int,
        steps_per_epoch: int | None = None,
        languages: Tensor | None = None,
        power: float = 1.0,
    ):
        self.languages, self.power = languages, power
        self.inputs, self.labels, self.items, self.order, self.seed = inputs, labels, items, order, seed
        self.count = len(inputs) if items is None else len(items)
        self.size = min(size, self.count)
        full = self.count // self.size
        self.steps_per_epoch = min(steps_per_epoch or full, full)
        self._epoch: tuple[int, Tensor] | None = None

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""
        picked = own(self.picked(step))
        labels = None if self.labels is None else self.labels[picked]
        return Batch(self.inputs[picked], labels)

    def picked(self, step: int) -> Tensor:
        """Which inputs are in the whole batch of a step: int64 (size,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        first = position * self.size
        if self.languages is None and self.count >= COMPUTED_FROM:
            places = torch.arange(first, first + self.size)
            order = permuted(places, self.count, self.seed, epoch) if self.order == "shuffle" else places
            return (order if self.items is None else self.items[order]).to(self.inputs.device)
        return self._order(epoch)[first : first + self.size]

    def _order(self, epoch: int) -> Tensor:
        if self._epoch is None or (self.order == "shuffle" and self._epoch[0] != epoch):
            items = torch.arange(self.count) if self.items is None else self.items
            if self.order == "shuffle":
                items = items[self._shuffled(items, epoch)]
            self._epoch = (epoch, items.to(self.inputs.device))
        return self._epoch[1]

    def _shuffled(self, items: Tensor, epoch: int) -> Tensor:
        if self.languages is not None:
            return resampled(self.languages[items], self.power, self.seed, epoch)
        return torch.randperm(self.count, generator=generator(self.seed, "order", epoch))


@dataclass
class MixedBatches:
    """Batches of labelled inputs followed by unlabelled ones; an epoch is one of the unlabelled inputs.

    Each part has its own order; the labelled part is repeated as often as needed.
    """

    labelled: Batches
    unlabelled: Batches

    @property
    def size(self) -> int:
        """Batch size, labelled and unlabelled."""
        return self.labelled.size + self.unlabelled.size

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one epoch of the unlabelled inputs."""
        return self.unlabelled.steps_per_epoch

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""
        known, other = self.labelled.at(step), self.unlabelled.at(step).inputs
        if known.labels is None:
            raise ValueError("the labelled part of a mixed batch has no labels")
        unknown = known.labels.new_full((len(other),), UNKNOWN)
        return Batch(_both(known.inputs, other), torch.cat([known.labels, unknown]))


def _both(first: Inputs, second: Inputs) -> Inputs:
    if isinstance(first, Tokens) and isinstance(second, Tokens):
        return together([first, second])
    return torch.cat([as_tensor(first), as_tensor(second)])


class CaseBatches:
    """Full batches of pairs of inputs of the same case, which differ if the case has more than one input.

    An epoch has each case once (except for the remainder that does not fill a batch), so no case is twice in a batch. The
    inputs of a case are drawn at each step.

    Args:
        inputs: N of them, on any device or mapped from a file.
        cases: int64 (N,), the case of each input.
        items, size, order, seed, steps_per_epoch: as in `Batches`; from `size` on, they count cases.
    """

    def __init__(
        self,
        inputs: Inputs,
        cases: Tensor,
        items: Tensor | None,
        size: int,
        order: str,
        seed: int,
        steps_per_epoch: int | None = None,
    ):
        items = torch.arange(len(inputs)) if items is None else items
        _, which, counts = cases[items].unique(return_inverse=True, return_counts=True)
        self._inputs, self._seed = inputs, seed
        self._members = items[which.argsort(stable=True)]  # case by case
        self._counts, self._starts = counts, counts.cumsum(0) - counts
        self._cases = Batches(torch.arange(len(counts)), None, None, size, order, seed, steps_per_epoch)
        self.count, self.size, self.steps_per_epoch = len(items), self._cases.size, self._cases.steps_per_epoch

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""
        cases = self._cases.picked(step)  # which are numbered as they are stored
        counts, starts = self._counts[cases], self._starts[cases]
        draws = torch.rand(2, len(cases), generator=generator(self._seed, "pairs", step), dtype=torch.float64)
        one = (draws[0] * counts).long()
        other = (one + 1 + (draws[1] * (counts - 1)).long()) % counts
        picked, partners = (own(self._members[starts + place]).to(self._inputs.device) for place in (one, other))
        return Batch(self._inputs[picked], None, self._inputs[partners])


class PartnerBatches:
    """The batches of others, with another input of the same case beside each; one that is alone in its case beside itself.

    Args:
        batches: without labels.
        cases: int64 (N,), the case of each input.
    """

    def __init__(self, batches: Batches, cases: Tensor):
        items = torch.arange(len(batches.inputs)) if batches.items is None else batches.items
        _, which, counts = cases[items].unique(return_inverse=True, return_counts=True)
        order = which.argsort(stable=True)
        starts = counts.cumsum(0) - counts
        self._batches, self._members, self._counts, self._starts = batches, items[order], counts, starts
        self._case, self._place = (torch.zeros(len(cases), dtype=torch.int64) for _ in range(2))
        self._case[items] = which
        self._place[items[order]] = torch.arange(len(items)) - starts[which[order]]
        self.count, self.size, self.steps_per_epoch = batches.count, batches.size, batches.steps_per_epoch

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""
        picked = self._batches.picked(step)
        case = self._case[picked.cpu()]
        counts = self._counts[case]
        draws = torch.rand(len(case), generator=generator(self._batches.seed, "pairs", step), dtype=torch.float64)
        other = (self._place[picked.cpu()] + 1 + (draws * (counts - 1)).long()) % counts
        inputs, partners = self._batches.inputs, own(self._members[self._starts[case] + other])
        return Batch(inputs[own(picked)], None, inputs[partners.to(inputs.device)])
