"""When two pre-trainings are the same: a hash of everything that shapes the weights, and of nothing else."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ssl_cli import __version__
from ssl_cli.config import plain
from ssl_cli.data.datasets import Dataset, fingerprint, load
from ssl_cli.device import Machine
from ssl_cli.runs import read_result
from ssl_cli.schema import Component, Config, Phase

# What is only shown, not learnt from.
DISPLAY = ("log_every", "evaluate_every")


def pretraining(config: Config, dataset: Dataset, machine: Machine) -> str:
    """The hash by which `checkpoint=auto` finds a pre-training."""
    source = config.method.arguments.get("source")
    shapes: dict[str, Any] = {
        "program": __version__,
        "data": dataset.fingerprint(),
        "method": _learnt(config.method),
        "backbone": _built(config.backbone),
        "projection": _built(config.head.projection),
        "scale": config.augment.scale,
        "views": _built(config.augment.pretrain),
        "schedule": _trained(config.schedule.pretrain),
        "seed": config.seed,
        "precision": machine.precision,
    }
    if config.budget.pretrain_on == "rest":
        shapes["without"] = plain(config.budget)
    if source is not None:  # what was read, wherever it lies
        train = load(source).train
        shapes["source"] = fingerprint(train.inputs, train.labels)
    if config.start != "random":
        shapes["start"] = read_result(config.start)["identity"]
    text = json.dumps(shapes, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _built(target: Component) -> dict[str, Any]:
    """What is built, whatever the choice is called."""
    return {key: value for key, value in plain(target).items() if key != "name"}


def _learnt(method: Component) -> dict[str, Any]:
    """A method but for its source, which counts by what is read from it.

    A pre-training whose features it learns from counts by what it was, wherever it lies now.
    """
    features = method.arguments.get("features")
    found = {"features": read_result(features)["identity"]} if isinstance(features, Path) else {}
    return {key: value for key, value in {**_built(method), **found}.items() if key != "source"}


def _trained(phase: Phase) -> dict[str, Any]:
    return {key: value for key, value in plain(phase).items() if key not in DISPLAY}
