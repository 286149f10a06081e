"""Batches that must not enter batch norm's running statistics."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def keep_running_statistics(network: nn.Module) -> Iterator[None]:
    """Inside, batch norm normalises by the batch's own statistics, even in evaluation, and leaves its running ones unchanged."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [(norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.momentum, norm.training = 0.0, True
    yield
    for norm, (momentum, training) in zip(norms, before, strict=True):
        norm.momentum, norm.training = momentum, training
