"""The only training loop. Every batch, draw and rate is a function of the step and the seed."""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ssl_cli.config.schema import Phase
from ssl_cli.data.batches import Batches, CaseBatches, MixedBatches, PartnerBatches
from ssl_cli.data.token_batch import joined
from ssl_cli.data.types import View
from ssl_cli.errors import Interrupted, TrainingError
from ssl_cli.methods.base import Method
from ssl_cli.randomness import Draws, derived_seed, seed_network
from ssl_cli.runs.metrics import Metrics
from ssl_cli.runs.run import Run
from ssl_cli.runs.weights import not_finite
from ssl_cli.training.average import WeightAverage
from ssl_cli.training.compiling import compile_if_faster
from ssl_cli.training.device import Machine
from ssl_cli.training.interruption import stop_requests
from ssl_cli.training.optim import base_rate, learning_rate, optimiser, set_rate
from ssl_cli.training.outlook import Outlook
from ssl_cli.training.progress import Clock, bar
from ssl_cli.training.state import WHAT_TO_TRY, Monitor, State

log = logging.getLogger("ssl_cli")

Views = Callable[[Any, int, Draws], tuple[Any, ...]]
AnyBatches = Batches | CaseBatches | MixedBatches | PartnerBatches


class Prepared(NamedTuple):
    """What a method's loss gets of a batch."""

    views: tuple[Any, ...]
    labels: Tensor | None  # None if they may not be seen
    draws: Draws


@dataclass
class Fitted:
    """How a training went."""

    steps: int
    epochs: float
    inputs_per_second: float
    last: dict[str, float]
    best_step: int | None
    compile: dict[str, object]  # whether torch.compile was used, and why


def fit(
    method: Method,
    batches: AnyBatches,
    views: Views,
    phase: Phase,
    run: Run,
    machine: Machine,
    seed: int,
    monitor: Monitor | None = None,
    select: str | None = None,
) -> Fitted:
    """Train `method` in place, going on from the run's checkpoint if there is one.

    Args:
        method: what is trained, on its device.
        batches: inputs and labels by step.
        views: random views of a batch.
        phase: how long, at which rate.
        run: where metrics and checkpoints go.
        machine: device and precision.
        seed: of every draw.
        monitor: numbers worth knowing every `phase.evaluate_every` epochs, and at the end.
        select: the monitor's number whose best weights are kept; None for the last weights.

    Raises:
        Interrupted: asked to stop; the checkpoint is saved.
        TrainingError: the loss or a weight is not finite any more.
        ConfigError: another process trains in the run's folder.
    """
    with run.claimed():
        training = _Training(method, batches, views, phase, run, machine, seed)
        state = training.state
        outlook = training.outlook(keeps_best=select is not None)
        with (
            run.metrics(state.metrics_bytes) as metrics,
            stop_requests() as stop,
            bar(run, training.steps, state.step) as shown,
        ):
            run.training_begins(state.step, training.steps)
            method.train()
            while state.step < training.steps and not state.stopped:
                training.step()
                outlook.after_step()
                shown.update()
                training.log_and_evaluate(metrics, shown, monitor, select)
                if stop.received:
                    break
                if training.clock.since_save() >= machine.checkpoint_seconds:
                    training.save(metrics)
            training.save(metrics)
            if stop.received:
                raise Interrupted(stop.received)
        run.training_ended()
        return training.finish()


class _Training:
    """One training: its weights, optimiser, state and clock, new or from the run's checkpoint.

    A step of the optimiser takes `phase.gradient_accumulation` batches, so `steps_per_epoch` counts steps and not batches.
    """

    def __init__(
        self, method: Method, batches: AnyBatches, views: Views, phase: Phase, run: Run, machine: Machine,
        seed: int,
    ):  # fmt: skip
        self.method, self.batches, self.views, self.phase = method, batches, views, phase
        self.run, self.machine, self.seed = run, machine, seed
        self.steps_per_epoch = batches.steps_per_epoch // phase.gradient_accumulation
        steps = phase.epochs * self.steps_per_epoch
        self.steps = min(steps, phase.max_steps or steps)
        self.optimiser, self.scaler = optimiser(method.parameter_groups(), phase.optimiser), machine.scaler()
        self.average = WeightAverage(method, phase.ema) if phase.ema else None
        self.state = self._resume() or State()
        self.base = base_rate(phase.optimiser, batches.size * phase.gradient_accumulation)
        self.rate = 0.0
        self.compiled = compile_if_faster(method.backbone, self._sample, self.steps, run, machine)
        self.clock = Clock(run.progress())

    def outlook(self, keeps_best: bool) -> Outlook:
        """What the steps that are left will take."""
        copies, left = (self.average is not None) + keeps_best, self.steps - self.state.step
        return Outlook(self.run.folder, self.method, self.optimiser, copies, left, self.clock, self.machine)

    def step(self) -> None:
        """One step of the optimiser."""
        step, began = self.state.step, time.perf_counter()
        self.rate = learning_rate(step, self.steps, self.steps_per_epoch, self.base, self.phase.rate)
        set_rate(self.optimiser, self.rate)
        count = self.phase.gradient_accumulation
        numbers = take_step(
            self.method, self.optimiser, self.scaler, self._prepared(step), self.machine, count,
            self.phase.gradient_clipping,
        )  # fmt: skip
        self.method.after_step(step, self.steps)
        if self.average:
            self.average.update(self.method)
        self.state.step = step + 1
        self.state.add(numbers)
        self.clock.count(self.batches.size * count, time.perf_counter() - began)

    def _prepared(self, step: int) -> Iterator[Prepared]:
        """What the method gets of the batches that a step takes."""
        epoch, position = divmod(step, self.steps_per_epoch)
        count = self.phase.gradient_accumulation
        first = epoch * self.batches.steps_per_epoch + position * count
        for number in range(first, first + count):
            began = time.perf_counter()
            part = prepare(self.batches, self.views, self.method, number, self.seed, self.machine)
            self.clock.prepared(time.perf_counter() - began)
            yield part

    def log_and_evaluate(self, metrics: Metrics, shown: tqdm, monitor: Monitor | None, select: str | None) -> None:
        """What is done at the end of an epoch, every `log_every` steps, and every `evaluate_every` epochs."""
        state, phase = self.state, self.phase
        is_last = state.step == self.steps
        epoch_ends = state.step % self.steps_per_epoch == 0 or is_last
        if epoch_ends:
            state.end_epoch((state.step - 1) % self.steps_per_epoch + 1, phase)
        if state.step % phase.log_every == 0 or is_last or state.stopped:
            state.write_metrics(metrics, self.rate)
            shown.set_postfix_str(self.clock.described(state.last), refresh=False)
        if not (epoch_ends and monitor and phase.evaluate_every):
            return
        epoch = math.ceil(state.step / self.steps_per_epoch)
        if epoch % phase.evaluate_every == 0 or is_last or state.stopped:
            with self.average.applied(self.method) if self.average else contextlib.nullcontext():
                state.evaluate(metrics, self.method, monitor, select)

    def save(self, metrics: Metrics) -> None:
        """A checkpoint.

        Raises:
            TrainingError: a weight, or a running mean of batch norm, is infinite or not a number, as it would be again.
        """
        if broken := not_finite(self.method.state_dict()):
            raise TrainingError(f"{broken} is not finite any more at step {self.state.step:,}: {WHAT_TO_TRY}")
        self.state.metrics_bytes = metrics.saved_size()
        contents = {
            "state": vars(self.state),
            "method": self.method.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.weights if self.average else None,
        }
        self.run.save_checkpoint(contents, self.clock.inputs, self.clock.seconds)
        self.clock.saved()

    def _resume(self) -> State | None:
        if (saved := self.run.checkpoint()) is None:
            return None
        self.method.load_state_dict(saved["method"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.scaler.load_state_dict(saved["scaler"])
        device = self.machine.device
        if self.average:
            self.average.weights = {name: value.to(device) for name, value in saved["average"].items()}
        state = State(**saved["state"])
        state.window = {key: value.to(device) for key, value in state.window.items()}
        if state.epoch_loss is not None:
            state.epoch_loss = state.epoch_loss.to(device)
        if state.step:
            log.info("Going on after step %s.", f"{state.step:,}")
        return state

    def _sample(self) -> View:
        """Inputs as the backbone gets them."""
        return joined(prepare(self.batches, self.views, self.method, 0, self.seed, self.machine).views)

    def finish(self) -> Fitted:
        """The method gets the weights that are kept; how it went."""
        state = self.state
        if state.best_weights is not None:
            self.method.load_state_dict(state.best_weights)
        elif self.average:
            self.method.load_state_dict(self.average.weights)
        epochs = state.step / self.steps_per_epoch
        return Fitted(state.step, epochs, self.clock.rate(), dict(state.last), state.best_step, self.compiled)


def prepare(batches: AnyBatches, views: Views, method: Method, number: int, seed: int, machine: Machine) -> Prepared:
    """What the method gets of a batch, on the device; layers that draw, such as dropout, are seeded too.

    Where inputs have partners, one view is of the input and the other of its partner.

    Args:
        batches, views, method: of the training.
        number: of the batch, counted from 0 over all epochs.
        seed: of every draw.
        machine: device and memory layout.
    """
    seed_network(derived_seed(seed, "network", number), machine.device)
    batch = batches.at(number)
    labels = None if batch.labels is None else batch.labels.to(machine.device, non_blocking=True)
    draws = Draws(seed, "views", number, machine.device)
    if batch.partners is None:
        seen = views(batch.inputs, method.n_views, draws)
    else:
        seen = views(batch.inputs, 1, draws) + views(batch.partners, 1, draws)
    return Prepared(tuple(map(machine.layout, seen)), labels, Draws(seed, "network", number, machine.device))


def take_step(
    method: Method,
    optimise: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    parts: Iterable[Prepared],
    machine: Machine,
    count: int = 1,
    clipping: float | None = None,
) -> dict[str, Tensor]:
    """One step of the optimiser.

    Args:
        method, optimise, scaler, machine: of the training.
        parts: the batches whose gradients are averaged.
        count: how many of them.
        clipping: the largest norm that the gradient may have; longer ones are shortened to it. None: any.

    Returns:
        The loss and the method's numbers, means over the parts, and `gradient_norm` where it is clipped; on the device.
    """
    # What zero_grad does, which asks the profiler first: a twentieth of a small step.
    for group in optimise.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    numbers: dict[str, Tensor] = {}
    for part in parts:
        with machine.autocast():
            loss, said = method.loss(*part)
        scaler.scale(loss / count if count > 1 else loss).backward()
        for key, value in {"loss": loss.detach(), **said}.items():
            share = value / count if count > 1 else value
            numbers[key] = numbers[key] + share if key in numbers else share
    if clipping is not None:
        scaler.unscale_(optimise)
        trained = [parameter for group in optimise.param_groups for parameter in group["params"]]
        numbers["gradient_norm"] = torch.nn.utils.clip_grad_norm_(trained, clipping)
    scaler.step(optimise)
    scaler.update()
    return numbers
