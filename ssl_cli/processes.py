"""What several processes that train one network together have in common: one batch, of which each has its share.

The inputs of a batch are dealt in turn: of P processes, process r has the inputs r, r + P, r + 2P, … of the whole batch. So a
tensor with several blocks of values for all inputs (two views, four rotations) is dealt block by block, and `gather` brings
back the order of one process.

Only within `together` are there several; in a training of one process, and outside of steps, each function gives back what it
got. Within it, all processes must call the same functions in the same order.
"""

import contextlib
from collections.abc import Generator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

_Values = TypeVar("_Values")  # what can be sliced: tensors, stored texts, packed texts

_rank, _count = 0, 1


@contextlib.contextmanager
def together(rank: int, count: int) -> Generator[None]:
    """Inside, this process is one of `count`, all of which compute a step of one training."""
    global _rank, _count
    before = _rank, _count
    _rank, _count = rank, count
    try:
        yield
    finally:
        _rank, _count = before


def rank() -> int:
    """This process's number, counted from 0."""
    return _rank


def count() -> int:
    """How many processes there are."""
    return _count


def own(values: _Values) -> _Values:
    """This process's share of values of the whole batch: (B, …) → (B / processes, …)."""
    return values if _count == 1 else values[_rank::_count]  # pyright: ignore[reportIndexIssue]


def own_size(size: int) -> int:
    """How many of `size` inputs of the whole batch this process has."""
    return size // _count


def gather(values: Tensor) -> Tensor:
    """The values of all processes in the order of one, with gradients: (B / processes, …) → (B, …).

    Each process then computes the loss of the whole batch; averaging gradients over processes, as DistributedDataParallel does,
    gives its gradient.
    """
    return values if _count == 1 else _Gathered.apply(values)


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.shares = _rank, _count
        everyone = [torch.empty_like(values, memory_format=torch.contiguous_format) for _ in range(_count)]
        dist.all_gather(everyone, values.contiguous())
        return torch.stack(everyone, dim=1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *of_outputs: Tensor) -> Tensor:
        rank, count = ctx.shares
        total = of_outputs[0].contiguous().clone()
        dist.all_reduce(total)
        return total[rank::count]


def total(values: Tensor) -> Tensor:
    """The sum of a tensor over the processes, without gradient."""
    if _count == 1:
        return values
    summed = values.detach().contiguous().clone()
    dist.all_reduce(summed)
    return summed


def average(values: Tensor) -> Tensor:
    """The mean of a tensor over the processes, without gradient."""
    return values if _count == 1 else total(values) / _count


def weight(things: Tensor | int) -> Tensor | float:
    """By what a mean over so many things of this process counts, for the mean of these means to be that over all things.

    1 where each process has as many, or there is only one: their number over its mean over processes.

    Args:
        things: how many, a scalar.
    """
    if _count == 1:
        return 1.0
    here = torch.as_tensor(things, dtype=torch.float64)
    return (here / average(here).clamp_min(1 / _count)).float()
