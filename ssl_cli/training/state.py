"""What a training carries from step to step, and what is done with it every so many steps."""

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from ssl_cli.config.schema import Phase
from ssl_cli.errors import TrainingError
from ssl_cli.methods.base import Method, to_float64
from ssl_cli.runs.metrics import Metrics

log = logging.getLogger("ssl_cli")

Monitor = Callable[[Method], dict[str, float]]

WHAT_TO_TRY = "lower schedule's optimiser.lr, lengthen rate.warmup, or set runtime.precision=float32"
COLLAPSED = 1e-3  # a spread of the embeddings below this is a collapse


@dataclass
class State:
    """All that changes while training, but for the weights and the optimiser; it is in the checkpoint as it stands."""

    step: int = 0
    metrics_bytes: int = 0
    window: dict[str, Tensor] = field(default_factory=dict)  # sums since the last log line
    window_steps: int = 0
    epoch_loss: Tensor | None = None
    lowest_loss: float = math.inf
    stale_epochs: int = 0
    stopped: bool = False
    collapsed: bool = False  # it was said
    last: dict[str, float] = field(default_factory=dict)
    best: float = -math.inf
    best_step: int | None = None
    best_weights: dict[str, Tensor] | None = None

    def add(self, numbers: dict[str, Tensor]) -> None:
        """Sum up on the device the numbers of a step; looking at one would wait for it."""
        for key, value in numbers.items():
            self.window[key] = self.window[key] + to_float64(value) if key in self.window else to_float64(value)
        self.window_steps += 1
        loss = to_float64(numbers["loss"])
        self.epoch_loss = loss if self.epoch_loss is None else self.epoch_loss + loss

    def write_metrics(self, metrics: Metrics, rate: float) -> None:
        """A line with the means since the last one.

        Raises:
            TrainingError: the loss is not finite any more.
        """
        means = {key: float(total) / self.window_steps for key, total in self.window.items()}
        self.last.update(means)
        self.window, self.window_steps = {}, 0
        if not math.isfinite(self.last["loss"]):
            raise TrainingError(f"the loss is {self.last['loss']} at step {self.step:,}: {WHAT_TO_TRY}")
        metrics.add(self.step, {**means, "rate": rate})
        self._watch_for_collapse()

    def _watch_for_collapse(self) -> None:
        spread = self.last.get("spread")
        if spread is None or spread >= COLLAPSED:
            self.collapsed = False
        elif not self.collapsed:
            self.collapsed = True
            log.warning(
                "Collapsed at step %s: the spread of the embeddings is %.1e, so all inputs look the same to the loss "
                "(%.4f). Try another seed, a lower schedule.pretrain.optimiser.lr or a warm-up, a head without softmax "
                "(head.projection.output=linear) or with batch norm, pixels in 0–1 (augment.scale=1).",
                f"{self.step:,}", spread, self.last["loss"],
            )  # fmt: skip

    def end_epoch(self, steps: int, phase: Phase) -> None:
        """Early stopping on the mean loss of an epoch of `steps` steps."""
        if self.epoch_loss is None:
            raise ValueError("an epoch without a step has no mean loss")
        mean = float(self.epoch_loss) / steps
        self.epoch_loss = None
        if phase.stop is None:
            return
        improved = mean < self.lowest_loss * (1 - phase.stop.improvement)
        self.stale_epochs = 0 if improved or math.isinf(self.lowest_loss) else self.stale_epochs + 1
        self.lowest_loss = min(self.lowest_loss, mean)
        self.stopped = self.stale_epochs > phase.stop.patience

    def evaluate(self, metrics: Metrics, method: Method, monitor: Monitor, select: str | None) -> None:
        """The monitor's numbers; the weights are kept if those of `select` are the best so far."""
        method.eval()
        numbers = monitor(method)
        method.train()
        if not numbers:
            return
        self.last.update(numbers)
        metrics.add(self.step, numbers)
        if select and numbers[select] > self.best:
            self.best, self.best_step = numbers[select], self.step
            self.best_weights = copy.deepcopy(method.state_dict())
