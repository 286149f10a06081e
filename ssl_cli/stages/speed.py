"""How many steps of a training take a time, measured on the data, the network and the machine at hand."""

import json
import logging
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssl_cli.config.build import plain
from ssl_cli.config.schema import Config, Phase
from ssl_cli.data.batches import Batches
from ssl_cli.data.budget import choose
from ssl_cli.data.types import Dataset
from ssl_cli.methods.base import Method
from ssl_cli.runs.run import Run
from ssl_cli.stages.automatic_schedule import two_digits
from ssl_cli.stages.finetune import views_and_data
from ssl_cli.stages.networks import fresh_classifier
from ssl_cli.stages.pretrain import check_sources, material
from ssl_cli.training.device import Machine, machine
from ssl_cli.training.distributed import taken_together
from ssl_cli.training.progress import Clock
from ssl_cli.training.step import AnyBatches, Recipe, Steps, Views

log = logging.getLogger("ssl_cli")

WARM_UP, FEWEST, SECONDS = 3, 5, 3.0  # steps before the measurement; steps and seconds of it, at least
_measured: dict[str, float] = {}  # jobs of a sweep with the same training get the same number of steps


def steps_in(minutes: float, phase: str, config: Config, dataset: Dataset) -> int:
    """How many steps of a training take so many minutes here, to two significant digits; nothing of the trial is kept.

    Args:
        minutes: of training.
        phase: `pretrain`, or `supervised`.
        config: the settings, in which only the number of steps is open.
        dataset: of the run.

    Raises:
        ConfigError: what the training is made of does not fit.
    """
    parts = ("seed", "init_from", "dataset", "augment", "backbone", "head", "method", "runtime")
    about = {"phase": phase, "how": plain(getattr(config.schedule, phase)), "of": dataset.fingerprint()}
    if phase == "supervised" or config.budget.pretrain_on == "rest":
        about["budget"] = plain(config.budget)
    key = json.dumps([about, *(plain(getattr(config, part)) for part in parts)], sort_keys=True)
    if key not in _measured:
        _measured[key] = _seconds_per_step(phase, config, dataset)
    steps = two_digits(60 * minutes / _measured[key])
    log.info(
        "schedule.minutes=%g: a step takes %.3g ms here, so schedule.%s.max_steps=%s.",
        minutes, 1e3 * _measured[key], phase, steps,
    )  # fmt: skip
    return steps


def _seconds_per_step(phase: str, config: Config, dataset: Dataset) -> float:
    how, here = getattr(config.schedule, phase), machine(config.runtime)
    with tempfile.TemporaryDirectory() as folder:
        method, batches, views = _training(phase, config, dataset, Path(folder) / "trial", here)
        steps = Steps(Recipe(method, batches, views, endless(how), here, config.seed), Clock({}))
        method.train()
        with taken_together(steps) as take:
            taken, began = 0, time.perf_counter()
            while taken < WARM_UP + FEWEST or time.perf_counter() - began < SECONDS:
                if taken == WARM_UP:
                    began = time.perf_counter()
                take(taken)
                here.wait()
                taken += 1
            return (time.perf_counter() - began) / (taken - WARM_UP)


def endless(phase: Phase) -> Phase:
    """A schedule of which as many steps can be timed as it takes, each at the same rate."""
    rate = replace(phase.rate, warmup=0.0, decay="constant")
    return replace(phase, epochs=sys.maxsize, max_steps=None, rate=rate)


def _training(
    phase: str, config: Config, dataset: Dataset, folder: Path, here: Machine
) -> tuple[Method, AnyBatches, Views | Any]:
    """What a training is made of, with random weights in place of those of a pre-training."""
    if phase == "pretrain":
        check_sources(config)
        return material(config, dataset, Run(folder, config), here)
    method = here.place(fresh_classifier(config, dataset, None))
    chosen = choose(dataset, config.budget, config.seed)
    views, train, _, _ = views_and_data(config, dataset, chosen, method, here)
    how = config.schedule.supervised
    return method, Batches(*train, how.batch_size, how.order, config.seed, how.steps_per_epoch), views
