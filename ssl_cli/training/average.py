"""A moving average of weights (Polyak and Juditsky, 1992), which is evaluated and kept where a schedule asks for it."""

import contextlib
from collections.abc import Generator

import torch
from torch import nn


class WeightAverage:
    """The average of a module's weights and buffers over the steps of a training.

    Args:
        module: whose weights as they are now begin the average.
        decay: share of the average that stays after a step.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move towards the weights after a step; whole numbers, such as how many batches were seen, are taken over."""
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - self.decay)
            else:
                self.weights[name].copy_(value)

    @contextlib.contextmanager
    def applied(self, module: nn.Module) -> Generator[None]:
        """The module with the averaged weights; afterwards it has its own again."""
        own = {name: value.detach().clone() for name, value in module.state_dict().items()}
        module.load_state_dict(self.weights)
        try:
            yield
        finally:
            module.load_state_dict(own)
