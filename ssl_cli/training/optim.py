"""Optimisers, and the learning rate as a function of the step."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import Optimiser, Rate

Group = dict[str, Any]


def optimiser(groups: Iterable[tuple[float, Iterable[nn.Parameter]]], settings: Optimiser) -> torch.optim.Optimizer:
    """The optimiser of the settings for groups of parameters with a share each of the rate that `set_rate` sets."""
    known = [
        (share, [parameter for parameter in parameters if parameter.requires_grad]) for share, parameters in groups
    ]
    trained: list[Group] = [{"params": parameters, "share": share} for share, parameters in known if parameters]
    rate, decay = settings.lr, settings.weight_decay
    if settings.name == "lars":
        return LARS(trained, lr=rate, momentum=settings.momentum, weight_decay=decay)
    if settings.name == "sgd":
        return torch.optim.SGD(trained, lr=rate, momentum=settings.momentum, weight_decay=decay, fused=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    return kind(trained, lr=rate, betas=settings.betas, weight_decay=decay, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Let each group of parameters learn at its share of `rate` from now on."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["share"]


class LARS(torch.optim.Optimizer):
    """SGD whose rate for each weight tensor is in proportion to the tensor's own length (You et al., 2017, algorithm 1).

    As in SimCLR's code, momentum gathers steps and not gradients, and vectors (biases, batch norms) have neither weight
    decay nor a rate of their own.

    Args:
        parameters: to train.
        lr: the rate; with `TRUST` times a tensor's norm over its gradient's, the tensor's own.
        momentum: share of the last step that goes into the next.
        weight_decay: added to gradients, times the weight.
    """

    TRUST = 0.001

    def __init__(
        self, parameters: Iterable[nn.Parameter] | Iterable[Group], lr: float, momentum: float, weight_decay: float
    ):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # no closures
        """One step along the gradients that are there."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        rate = parameter.new_tensor(group["lr"])
        if parameter.ndim > 1:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
            ours, theirs = parameter.norm(), gradient.norm()
            trust = torch.where((ours > 0) & (theirs > 0), self.TRUST * ours / theirs, 1.0)
            rate = rate * trust
        state = self.state[parameter]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(parameter)
        state["velocity"].mul_(group["momentum"]).add_(gradient * rate)
        parameter.sub_(state["velocity"])


def base_rate(settings: Optimiser, batch_size: int) -> float:
    """The highest learning rate: `lr`, or what it says for this batch (SimCLR, section 2.2 and appendix B.1)."""
    return settings.lr * {"none": 1.0, "linear": batch_size / 256, "root": math.sqrt(batch_size)}[settings.lr_scale]


def learning_rate(step: int, steps: int, steps_per_epoch: int, base: float, rate: Rate) -> float:
    """The rate of a step, counted from 0: up linearly over the warm-up, then down as the settings say.

    `linear` and `cosine` end at 0 after `steps`; `inverse_root` falls with the root of the step (Vaswani et al., 2017, section
    5.3); `exponential` loses a factor `gamma` at the end of each epoch.
    """
    warmup = round(rate.warmup * steps)
    if step < warmup:
        return base * (step + 1) / warmup
    if rate.decay == "linear":
        return base * (steps - step) / max(1, steps - warmup)
    if rate.decay == "inverse_root":
        return base * math.sqrt(max(1, warmup) / (step + 1))
    if rate.decay == "cosine":
        return base * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    if rate.decay == "exponential":
        return base * rate.gamma ** (step // steps_per_epoch)
    return base
