"""When two runs are the same: what of their settings, data and starts shapes the result, and nothing else."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ssl_cli.config.build import plain
from ssl_cli.config.schema import Component, Config
from ssl_cli.data.dataset import load
from ssl_cli.data.types import Dataset, fingerprint
from ssl_cli.models.huggingface.reading import fingerprint as model_fingerprint
from ssl_cli.models.huggingface.reading import is_folder
from ssl_cli.runs.asked import counted_budget, counted_schedule
from ssl_cli.runs.files import sha256
from ssl_cli.runs.identity import identity
from ssl_cli.runs.result import finished_result
from ssl_cli.training.device import Machine


def pretraining_identity(config: Config, dataset: Dataset, machine: Machine) -> str:
    """The hash by which `checkpoint=auto` finds a pre-training."""
    source = config.method.arguments.get("source")
    shapes: dict[str, Any] = {
        "stage": "pretrain",
        "data": dataset.fingerprint(),
        "method": _method(config.method),
        "backbone": _built(config.backbone),
        "projection": _built(config.head.projection),
        "scale": config.augment.scale,
        "views": _built(config.augment.pretrain),
        "schedule": counted_schedule(config, "pretrain"),
        "seed": config.seed,
        "precision": machine.precision,
    }
    if config.budget.pretrain_on == "rest":
        shapes["without"] = counted_budget(config.budget)
    if source is not None:  # what was read, wherever it lies
        train = load(source).train
        shapes["source"] = fingerprint(train.inputs, train.labels)
    if config.init_from != "random":
        shapes["init_from"] = identity_of(config.init_from)
    return identity(shapes)


def classifier_identity(
    config: Config, dataset: Dataset, machine: Machine, starts_from: Iterable[Path | None] = ()
) -> str:
    """The hash of a run that trains on the label budget and is tested.

    Args:
        config, dataset, machine: of the run.
        starts_from: the folders of the runs whose weights it begins with or learns from.
    """
    phases = [phase for phase in config.stage.phases if phase != "pretrain"]
    stage = {key: value for key, value in plain(config.stage).items() if key != "teacher"}  # it counts by its identity
    return identity(
        {
            "stage": stage,
            "train": fingerprint(dataset.train.inputs, dataset.train.labels),
            "test": fingerprint(dataset.test.inputs, dataset.test.labels),
            "budget": counted_budget(config.budget),
            "backbone": _built(config.backbone),
            "head": {key: value for key, value in plain(config.head).items() if key != "name"},
            "augment": {key: value for key, value in plain(config.augment).items() if key != "name"},
            "schedules": {phase: counted_schedule(config, phase) for phase in phases},
            "seed": config.seed,
            "precision": machine.precision,
            "starts_from": [identity_of(folder) for folder in starts_from if folder is not None],
        }
    )


def joint_identity(config: Config, parts: Iterable[str]) -> str:
    """The hash of a run that sets others side by side, by the identities of those."""
    return identity({"stage": config.stage.name, "parts": list(parts)})


def identity_of(folder: Path) -> str:
    """The identity of a finished run, or the hash of a model of the library transformers."""
    if is_folder(folder):
        return model_fingerprint(folder)
    return finished_result(folder)["identity"]


def _built(component: Component) -> dict[str, Any]:
    """What is built, whatever the choice is called; a file of weights counts by its bytes, wherever it lies."""
    files = {
        key: sha256(value) for key, value in component.arguments.items() if isinstance(value, Path) and value.is_file()
    }
    return {key: value for key, value in {**plain(component), **files}.items() if key != "name"}


def _method(method: Component) -> dict[str, Any]:
    """A method but for its source, which counts by what is read from it.

    A pre-training whose features it learns from counts by what it was, wherever it lies now.
    """
    features = method.arguments.get("features")
    found = {"features": identity_of(features)} if isinstance(features, Path) else {}
    return {key: value for key, value in {**_built(method), **found}.items() if key != "source"}
