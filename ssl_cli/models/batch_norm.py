"""Batches whose statistics are not those that a network is to remember."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Batch norm uses the batch's own statistics inside, even in evaluation; its running ones do not hear of it."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [(norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.momentum, norm.training = 0.0, True
    yield
    for norm, (momentum, training) in zip(norms, before, strict=True):
        norm.momentum, norm.training = momentum, training
