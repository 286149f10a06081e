"""Optimisers, and the learning rate as a function of the step."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from ssl_cli.schema import Optimiser, Rate


def optimiser(parameters: Iterable[nn.Parameter], settings: Optimiser) -> torch.optim.Optimizer:
    """The optimiser of the settings; its rate is set anew at every step."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    common = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.name == "sgd":
        return torch.optim.SGD(trained, momentum=settings.momentum, **common, fused=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    return kind(trained, **common, fused=True)


def learning_rate(step: int, steps: int, steps_per_epoch: int, base: float, rate: Rate) -> float:
    """The rate of a step, counted from 0: up linearly over the warm-up, then down as the settings say.

    `cosine` ends at 0 after `steps`; `exponential` loses a factor `gamma` at the end of each epoch.
    """
    warmup = round(rate.warmup * steps)
    if step < warmup:
        return base * (step + 1) / warmup
    if rate.decay == "cosine":
        return base * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    if rate.decay == "exponential":
        return base * rate.gamma ** (step // steps_per_epoch)
    return base
