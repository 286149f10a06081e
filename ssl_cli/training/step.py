"""One step of a training: a batch, its views, a loss, and a step of the optimiser. Every process of a training computes these."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ssl_cli import processes
from ssl_cli.config.schema import Phase
from ssl_cli.data.batches import Batches, CaseBatches, MixedBatches, PartnerBatches
from ssl_cli.methods.base import Method
from ssl_cli.randomness import Draws, derived_seed, seed_network
from ssl_cli.training.device import Machine
from ssl_cli.training.optim import base_rate, learning_rate, optimiser, set_rate
from ssl_cli.training.progress import Clock

Views = Callable[[Any, int, Draws], tuple[Any, ...]]
AnyBatches = Batches | CaseBatches | MixedBatches | PartnerBatches


class Prepared(NamedTuple):
    """What a method's loss gets of a batch."""

    views: tuple[Any, ...]
    labels: Tensor | None  # None if they may not be seen
    draws: Draws


@dataclass(frozen=True)
class Recipe:
    """All that decides the steps of a training.

    method: what is trained, on its device; batches: inputs and labels by step; views: random views of a batch; phase: how long,
    at which rate; machine: device and precision; seed: of every draw.
    """

    method: Method
    batches: AnyBatches
    views: Views
    phase: Phase
    machine: Machine
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Of the optimiser, each of which takes `phase.gradient_accumulation` batches."""
        return self.batches.steps_per_epoch // self.phase.gradient_accumulation

    @property
    def steps(self) -> int:
        """Of the whole training."""
        steps = self.phase.epochs * self.steps_per_epoch
        return min(steps, self.phase.max_steps or steps)


class Steps:
    """The steps of a training in this process: its weights, optimiser and learning rate.

    Args:
        recipe: of the training.
        clock: counts the time that batches and views take.
    """

    def __init__(self, recipe: Recipe, clock: Clock):
        self.recipe, self._clock = recipe, clock
        self.optimiser = optimiser(recipe.method.parameter_groups(), recipe.phase.optimiser)
        self.scaler = recipe.machine.scaler()
        self.shared: DistributedDataParallel | None = None  # where several processes take the steps together
        self.rate = 0.0
        phase = recipe.phase
        self._base = base_rate(phase.optimiser, recipe.batches.size * phase.gradient_accumulation)

    def take(self, step: int) -> dict[str, Tensor]:
        """A step, counted from 0; its loss and the method's numbers, of all processes, on the device."""
        recipe, phase = self.recipe, self.recipe.phase
        self.rate = learning_rate(step, recipe.steps, recipe.steps_per_epoch, self._base, phase.rate)
        set_rate(self.optimiser, self.rate)
        numbers = take_step(
            recipe.method, self.optimiser, self.scaler, self._prepared(step), recipe.machine, phase.gradient_accumulation,
            phase.gradient_clipping, self.shared,
        )  # fmt: skip
        recipe.method.after_step(step, recipe.steps)
        return numbers

    def _prepared(self, step: int) -> Iterator[Prepared]:
        """What the method gets of the batches that a step takes."""
        recipe, count = self.recipe, self.recipe.phase.gradient_accumulation
        epoch, position = divmod(step, recipe.steps_per_epoch)
        first = epoch * recipe.batches.steps_per_epoch + position * count
        for number in range(first, first + count):
            began = time.perf_counter()
            part = prepare(recipe.batches, recipe.views, recipe.method, number, recipe.seed, recipe.machine)
            self._clock.prepared(time.perf_counter() - began)
            yield part


def prepare(batches: AnyBatches, views: Views, method: Method, number: int, seed: int, machine: Machine) -> Prepared:
    """What the method gets of a batch, on the device; layers that draw, such as dropout, are seeded too.

    Where inputs have partners, one view is of the input and the other of its partner. Of a batch that several processes share,
    each gets its inputs with the draws that they have in one process; what layers draw is its own.

    Args:
        batches, views, method: of the training.
        number: of the batch, counted from 0 over all epochs.
        seed: of every draw.
        machine: device and memory layout.
    """
    rank, count = processes.rank(), processes.count()
    seed_network(derived_seed(seed, f"network/{rank}" if rank else "network", number), machine.device)
    batch = batches.at(number)
    labels = None if batch.labels is None else batch.labels.to(machine.device, non_blocking=True)
    draws = Draws(seed, "views", number, machine.device, rank, count)
    if batch.partners is None:
        seen = views(batch.inputs, method.n_views, draws)
    else:
        seen = views(batch.inputs, 1, draws) + views(batch.partners, 1, draws)
    own_draws = Draws(seed, "network", number, machine.device, rank, count)
    return Prepared(tuple(map(machine.layout, seen)), labels, own_draws)


def take_step(
    method: Method,
    optimise: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    parts: Iterable[Prepared],
    machine: Machine,
    count: int = 1,
    clipping: float | None = None,
    shared: DistributedDataParallel | None = None,
) -> dict[str, Tensor]:
    """One step of the optimiser.

    Args:
        method, optimise, scaler, machine: of the training.
        parts: the batches whose gradients are averaged.
        count: how many of them.
        clipping: the largest norm that the gradient may have; longer ones are shortened to it. None: any.
        shared: the method's loss, whose gradients are averaged over processes, once all parts are done; None: there is one
        process.

    Returns:
        The loss and the method's numbers, means over the parts and processes, and `gradient_norm` where it is clipped; on the
        device.
    """
    # What zero_grad does, which asks the profiler first: a twentieth of a small step.
    for group in optimise.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    numbers: dict[str, Tensor] = {}
    for done, part in enumerate(parts, start=1):
        with shared.no_sync() if shared is not None and done < count else contextlib.nullcontext():
            with machine.autocast():
                loss, said = method.loss(*part) if shared is None else shared(*part)
            scaler.scale(loss / count if count > 1 else loss).backward()
        for key, value in {"loss": loss.detach(), **said}.items():
            share = value / count if count > 1 else value
            numbers[key] = numbers[key] + share if key in numbers else share
    numbers = _averaged(numbers)
    if clipping is not None:
        scaler.unscale_(optimise)
        trained = [parameter for group in optimise.param_groups for parameter in group["params"]]
        numbers["gradient_norm"] = torch.nn.utils.clip_grad_norm_(trained, clipping)
    scaler.step(optimise)
    scaler.update()
    return numbers


def _averaged(numbers: dict[str, Tensor]) -> dict[str, Tensor]:
    """The means of scalars over all processes."""
    if processes.count() == 1:
        return numbers
    means = processes.average(torch.stack([value.double() for value in numbers.values()]))
    return dict(zip(numbers, means, strict=True))
