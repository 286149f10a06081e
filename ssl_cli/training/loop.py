"""The only training loop. Every batch, draw and rate is a function of the step and the seed."""

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ssl_cli.config.schema import Phase
from ssl_cli.data.batches import Batches, CaseBatches
from ssl_cli.errors import Interrupted, TrainingError
from ssl_cli.methods.base import Method, to_float64
from ssl_cli.randomness import derived_seed, generator, seed_network
from ssl_cli.runs.run import Metrics, Run
from ssl_cli.runs.weights import not_finite
from ssl_cli.training.compiling import compile_if_faster
from ssl_cli.training.device import Machine
from ssl_cli.training.interruption import stop_requests
from ssl_cli.training.optim import base_rate, learning_rate, optimiser
from ssl_cli.training.progress import Clock, bar

log = logging.getLogger("ssl_cli")

Views = Callable[[Tensor, int, torch.Generator], tuple[Tensor, ...]]
Monitor = Callable[[Method], dict[str, float]]

WHAT_TO_TRY = "lower schedule's optimiser.lr, lengthen rate.warmup, or set runtime.precision=float32"
COLLAPSED = 1e-3  # embeddings whose spread is below this tell inputs no more apart


@dataclass
class Fitted:
    """How a training went."""

    steps: int
    epochs: float
    inputs_per_second: float
    last: dict[str, float]
    best_step: int | None
    compile: dict[str, object]  # whether torch.compile was used, and why


@dataclass
class _State:
    """What the loop carries from step to step; all of it is in the checkpoint."""

    step: int = 0
    metrics_bytes: int = 0
    window: dict[str, Tensor] = field(default_factory=dict)  # sums since the last log line
    window_steps: int = 0
    epoch_loss: Tensor | None = None
    lowest_loss: float = math.inf
    stale_epochs: int = 0
    stopped: bool = False
    last: dict[str, float] = field(default_factory=dict)
    best: float = -math.inf
    best_step: int | None = None
    best_weights: dict[str, Tensor] | None = None


def fit(
    method: Method,
    batches: Batches | CaseBatches,
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
        select: the monitor's number whose best weights count; None for the last weights.

    Raises:
        Interrupted: asked to stop; the checkpoint is saved.
        TrainingError: the loss or a weight is not finite any more.
        ConfigError: another process trains in the run's folder.
    """
    with run.claimed():
        return _fit(method, batches, views, phase, run, machine, seed, monitor, select)


def _fit(
    method: Method, batches: Batches | CaseBatches, views: Views, phase: Phase, run: Run, machine: Machine, seed: int,
    monitor: Monitor | None, select: str | None,
) -> Fitted:  # fmt: skip
    steps = phase.epochs * batches.steps_per_epoch
    steps = min(steps, phase.max_steps or steps)
    optimise, scaler = optimiser(method.parameters(), phase.optimiser), machine.scaler()
    state = _resumed(run, method, optimise, scaler, machine) or _State()
    compiled = compile_if_faster(
        method.backbone, lambda: torch.cat(prepared(batches, views, method, 0, seed, machine)[0]), steps, run, machine
    )
    base = base_rate(phase.optimiser, batches.size)
    clock = Clock(run.progress())
    warned = False

    with (
        run.metrics(state.metrics_bytes) as metrics,
        stop_requests() as stop,
        bar(run, steps, state.step) as shown,
    ):

        def save() -> None:
            check_finite(method, state.step)
            state.metrics_bytes = metrics.saved_size()
            contents = {
                "state": vars(state),
                "method": method.state_dict(),
                "optimiser": optimise.state_dict(),
                "scaler": scaler.state_dict(),
            }
            run.save_checkpoint(contents, clock.inputs, clock.seconds)

        method.train()
        while state.step < steps and not state.stopped:
            step = state.step
            began = time.perf_counter()
            seen, labels = prepared(batches, views, method, step, seed, machine)
            ready = time.perf_counter()

            rate = learning_rate(step, steps, batches.steps_per_epoch, base, phase.rate)
            for group in optimise.param_groups:
                group["lr"] = rate
            numbers = take_step(method, optimise, scaler, seen, labels, machine)
            method.after_step(step, steps)

            state.step = step + 1
            _add(state, numbers)
            clock.count(batches.size, ready - began, time.perf_counter() - began)
            shown.update()
            epoch_ends = state.step % batches.steps_per_epoch == 0 or state.step == steps
            if epoch_ends:
                _end_epoch(state, batches, phase)
            if state.step % phase.log_every == 0 or state.step == steps or state.stopped:
                _log(state, metrics, rate)
                shown.set_postfix_str(clock.described(state.last), refresh=False)
                warned = _watch(state, warned)
            if epoch_ends:
                epoch = math.ceil(state.step / batches.steps_per_epoch)
                due = phase.evaluate_every and (epoch % phase.evaluate_every == 0 or state.step == steps)
                if monitor and (due or (state.stopped and phase.evaluate_every)):
                    _evaluate(state, metrics, method, monitor, select)
            if stop.received:
                save()
                raise Interrupted(stop.received)
            if clock.since_save() >= machine.checkpoint_seconds:
                save()
                clock.saved()
        save()
        if stop.received:
            raise Interrupted(stop.received)
    run.training_ended()

    if state.best_weights is not None:
        method.load_state_dict(state.best_weights)
    epochs = state.step / batches.steps_per_epoch
    rate = clock.inputs / max(clock.seconds, 1e-9)
    return Fitted(state.step, epochs, rate, dict(state.last), state.best_step, compiled)


def prepared(
    batches: Batches | CaseBatches, views: Views, method: Method, step: int, seed: int, machine: Machine
) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """What the method gets at a step: views and labels, on the device; layers that draw are seeded too.

    Where inputs have partners, one view is of the input and the other of its partner.
    """
    seed_network(derived_seed(seed, "network", step), machine.device)
    batch = batches.at(step)
    inputs = batch.inputs.to(machine.device, non_blocking=True)
    labels = None if batch.labels is None else batch.labels.to(machine.device, non_blocking=True)
    draws = generator(seed, "views", step, machine.device)
    if batch.partners is None:
        seen = views(inputs, method.n_views, draws)
    else:
        partners = batch.partners.to(machine.device, non_blocking=True)
        seen = views(inputs, 1, draws) + views(partners, 1, draws)
    return tuple(map(machine.layout, seen)), labels


def take_step(
    method: Method,
    optimise: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    seen: tuple[Tensor, ...],
    labels: Tensor | None,
    machine: Machine,
) -> dict[str, Tensor]:
    """One step of the optimiser; the loss and the method's numbers, still on the device."""
    with machine.autocast():
        loss, numbers = method.loss(seen, labels)
    # What zero_grad does, which asks the profiler first: a twentieth of a small step.
    for group in optimise.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    scaler.scale(loss).backward()
    scaler.step(optimise)
    scaler.update()
    return {"loss": loss.detach(), **numbers}


def _resumed(
    run: Run, method: Method, optimise: torch.optim.Optimizer, scaler: torch.amp.GradScaler, machine: Machine
) -> _State | None:
    saved = run.checkpoint()
    if saved is None:
        return None
    method.load_state_dict(saved["method"])
    optimise.load_state_dict(saved["optimiser"])
    scaler.load_state_dict(saved["scaler"])
    state = _State(**saved["state"])
    state.window = {key: value.to(machine.device) for key, value in state.window.items()}
    if state.epoch_loss is not None:
        state.epoch_loss = state.epoch_loss.to(machine.device)
    if state.step:
        log.info("Going on after step %s.", f"{state.step:,}")
    return state


def _add(state: _State, numbers: dict[str, Tensor]) -> None:
    """Sum up on the device; looking at a number would wait for it."""
    for key, value in numbers.items():
        state.window[key] = state.window[key] + to_float64(value) if key in state.window else to_float64(value)
    state.window_steps += 1
    loss = to_float64(numbers["loss"])
    state.epoch_loss = loss if state.epoch_loss is None else state.epoch_loss + loss


def _log(state: _State, metrics: Metrics, rate: float) -> None:
    means = {key: float(total) / state.window_steps for key, total in state.window.items()}
    state.last.update(means)
    state.window, state.window_steps = {}, 0
    if not math.isfinite(state.last["loss"]):
        raise TrainingError(f"the loss is {state.last['loss']} at step {state.step:,}: {WHAT_TO_TRY}")
    metrics.add(state.step, {**means, "rate": rate})


def check_finite(method: Method, step: int) -> None:
    """Before weights are saved: a checkpoint with others could only be resumed to the same end.

    Raises:
        TrainingError: a weight, or a running mean of batch norm, is infinite or not a number.
    """
    broken = not_finite(method.state_dict())
    if broken:
        raise TrainingError(f"{broken} is not finite any more at step {step:,}: {WHAT_TO_TRY}")


def _watch(state: _State, warned: bool) -> bool:
    """Say at once when the embeddings have collapsed."""
    spread = state.last.get("spread")
    if spread is None or spread >= COLLAPSED:
        return False
    if not warned:
        log.warning(
            "Collapsed at step %s: the spread of the embeddings is %.1e, so all inputs look the same to the loss "
            "(%.4f). Try another seed, a lower schedule.pretrain.optimiser.lr or a warm-up, a head without softmax "
            "(head.projection.output=linear) or with batch norm, pixels in 0–1 (augment.scale=1).",
            f"{state.step:,}", spread, state.last["loss"],
        )  # fmt: skip
    return True


def _end_epoch(state: _State, batches: Batches | CaseBatches, phase: Phase) -> None:
    steps = (state.step - 1) % batches.steps_per_epoch + 1
    mean = float(state.epoch_loss) / steps
    state.epoch_loss = None
    if phase.stop is None:
        return
    improved = mean < state.lowest_loss * (1 - phase.stop.improvement)
    state.stale_epochs = 0 if improved or math.isinf(state.lowest_loss) else state.stale_epochs + 1
    state.lowest_loss = min(state.lowest_loss, mean)
    state.stopped = state.stale_epochs > phase.stop.patience


def _evaluate(state: _State, metrics: Metrics, method: Method, monitor: Monitor, select: str | None) -> None:
    method.eval()
    numbers = monitor(method)
    method.train()
    if not numbers:
        return
    state.last.update(numbers)
    metrics.add(state.step, numbers)
    if select and numbers[select] > state.best:
        state.best, state.best_step = numbers[select], state.step
        state.best_weights = copy.deepcopy(method.state_dict())
