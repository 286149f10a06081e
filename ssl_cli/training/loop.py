"""The only training loop. Every batch, draw and rate is a function of the step and the seed."""

import contextlib
import logging
import math
import time
from dataclasses import dataclass

from torch import Tensor
from tqdm import tqdm

from ssl_cli.config.schema import Phase
from ssl_cli.data.token_batch import joined
from ssl_cli.data.types import View
from ssl_cli.errors import Interrupted, TrainingError
from ssl_cli.methods.base import Method
from ssl_cli.runs.metrics import Metrics
from ssl_cli.runs.run import Run
from ssl_cli.runs.weights import not_finite
from ssl_cli.training.average import WeightAverage
from ssl_cli.training.compiling import compile_if_faster
from ssl_cli.training.device import Machine
from ssl_cli.training.distributed import TakeStep, taken_together
from ssl_cli.training.interruption import stop_requests
from ssl_cli.training.memory import KeptMemory
from ssl_cli.training.outlook import Outlook
from ssl_cli.training.progress import Clock, bar
from ssl_cli.training.state import WHAT_TO_TRY, Monitor, State
from ssl_cli.training.step import AnyBatches, Recipe, Steps, Views, prepare

log = logging.getLogger("ssl_cli")


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
        training = _Training(Recipe(method, batches, views, phase, machine, seed), run)
        state = training.state
        outlook = training.outlook(keeps_best=select is not None)
        with (
            run.metrics(state.metrics_bytes) as metrics,
            stop_requests() as stop,
            bar(run, training.recipe.steps, state.step) as shown,
            taken_together(training.steps) as take,
        ):
            run.training_begins(state.step, training.recipe.steps)
            method.train()
            while state.step < training.recipe.steps and not state.stopped:
                training.step(take)
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
    """One training: its steps, state and clock, new or from the run's checkpoint.

    Where several processes train together, this is in the one that leads: the others only take steps.
    """

    def __init__(self, recipe: Recipe, run: Run):
        self.recipe, self.run = recipe, run
        self.clock, self.kept_memory = Clock(run.progress()), KeptMemory()
        self.steps = Steps(recipe, self.clock)
        self.average = WeightAverage(recipe.method, recipe.phase.ema) if recipe.phase.ema else None
        self.state = self._resume() or State()
        self.compiled = compile_if_faster(recipe.method.backbone, self._sample, recipe.steps, run, recipe.machine)

    def outlook(self, keeps_best: bool) -> Outlook:
        """What the steps that are left will take."""
        copies, left = (self.average is not None) + keeps_best, self.recipe.steps - self.state.step
        method, machine = self.recipe.method, self.recipe.machine
        return Outlook(self.run.folder, method, self.steps.optimiser, copies, left, self.clock, machine)

    def step(self, take: TakeStep) -> None:
        """One step of the optimiser."""
        began = time.perf_counter()
        numbers = take(self.state.step)
        if self.average:
            self.average.update(self.recipe.method)
        self.state.step += 1
        self.state.add(numbers)
        inputs = self.recipe.batches.size * self.recipe.phase.gradient_accumulation
        self.clock.count(inputs, time.perf_counter() - began)

    def log_and_evaluate(self, metrics: Metrics, shown: tqdm, monitor: Monitor | None, select: str | None) -> None:
        """What is done at the end of an epoch, every `log_every` steps, and every `evaluate_every` epochs."""
        state, phase, method = self.state, self.recipe.phase, self.recipe.method
        steps_per_epoch = self.recipe.steps_per_epoch
        is_last = state.step == self.recipe.steps
        epoch_ends = state.step % steps_per_epoch == 0 or is_last
        if epoch_ends:
            state.end_epoch((state.step - 1) % steps_per_epoch + 1, phase)
        if state.step % phase.log_every == 0 or is_last or state.stopped:
            state.write_metrics(metrics, self.steps.rate)
            shown.set_postfix_str(self.clock.described(state.last), refresh=False)
        if not (epoch_ends and monitor and phase.evaluate_every):
            return
        epoch = math.ceil(state.step / steps_per_epoch)
        if epoch % phase.evaluate_every == 0 or is_last or state.stopped:
            with self.average.applied(method) if self.average else contextlib.nullcontext():
                state.evaluate(metrics, method, monitor, select)

    def save(self, metrics: Metrics) -> None:
        """A checkpoint.

        Raises:
            TrainingError: a weight, or a running mean of batch norm, is infinite or not a number, as it would be again.
        """
        weights = self.recipe.method.state_dict()
        if broken := not_finite(weights):
            raise TrainingError(f"{broken} is not finite any more at step {self.state.step:,}: {WHAT_TO_TRY}")
        self.state.metrics_bytes = metrics.saved_size()
        contents = {
            "state": vars(self.state),
            "method": weights,
            "optimiser": self.steps.optimiser.state_dict(),
            "scaler": self.steps.scaler.state_dict(),
            "average": self.average.weights if self.average else None,
        }
        self.run.save_checkpoint(contents, self.clock.inputs, self.clock.seconds)
        self.clock.saved()
        self.kept_memory.check()

    def _resume(self) -> State | None:
        if (saved := self.run.checkpoint()) is None:
            return None
        self.recipe.method.load_state_dict(saved["method"])
        self.steps.optimiser.load_state_dict(saved["optimiser"])
        self.steps.scaler.load_state_dict(saved["scaler"])
        device = self.recipe.machine.device
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
        """Inputs as the backbone gets them: what a teacher sees in another size does not pass through it."""
        recipe = self.recipe
        views = prepare(recipe.batches, recipe.views, recipe.method, 0, recipe.seed, recipe.machine).views
        return joined([view for view in views if not isinstance(view, Tensor) or view.shape[1:] == views[0].shape[1:]])

    def finish(self) -> Fitted:
        """The method gets the weights that are kept; how it went."""
        state = self.state
        if state.best_weights is not None:
            self.recipe.method.load_state_dict(state.best_weights)
        elif self.average:
            self.recipe.method.load_state_dict(self.average.weights)
        epochs = state.step / self.recipe.steps_per_epoch
        return Fitted(state.step, epochs, self.clock.rate(), dict(state.last), state.best_step, self.compiled)
