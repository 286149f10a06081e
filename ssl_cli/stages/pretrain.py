"""Pre-training: every training input, no labels."""

import json
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ssl_cli import heads, identity, signatures
from ssl_cli.augment.views import Views
from ssl_cli.config import build
from ssl_cli.contradictions import pairs
from ssl_cli.data.batches import Batches, CaseBatches
from ssl_cli.data.budget import choose
from ssl_cli.data.datasets import UNKNOWN, Dataset, Split, load, overlap
from ssl_cli.device import Machine, machine_of
from ssl_cli.errors import ConfigError
from ssl_cli.evaluate import knn_monitor
from ssl_cli.files import write
from ssl_cli.methods.base import Method
from ssl_cli.needs import source_problems
from ssl_cli.randomness import derived_seed
from ssl_cli.report import pictures, plots
from ssl_cli.runs import Run, finished_runs, read_result, short
from ssl_cli.schema import Config, PretrainStage
from ssl_cli.starts import asked_for, origin, started_from
from ssl_cli.surrogates import check_features, surrogate_classes
from ssl_cli.train import COLLAPSED, fit
from ssl_cli.weights import read_weights

log = logging.getLogger("ssl_cli")

SHARED = 0.01  # of the target's inputs in a source of labels are an accident; more are a leak


def pretrain(config: Config, run: Run) -> dict[str, Any]:
    """Train the backbone and the projection head; the numbers of the run."""
    if run.result:
        return run.result
    check_features(config)
    here = machine_of(run)
    dataset = load(config.dataset)
    method, batches, views = material(config, dataset, run, here)
    start = started_from(config)
    source = None if method.source is None else config.method.arguments["source"].name
    phase = config.schedule.pretrain
    parameters = count_parameters(method.backbone)
    log.info(
        "Pre-training with %s: %s (%s parameters) from %s, %s of %s, on %s → %s",
        config.method.name, config.backbone.name, f"{parameters:,}", short(start) if start else "random weights",
        f"{batches.count:,} inputs", f"{source} with their labels" if source else f"{config.dataset.name}, no labels",
        here.described(), short(run.folder),
    )  # fmt: skip
    classes = batches.labels if method.source is None and not pairs(config) else None
    if classes is not None:
        sizes = classes[classes != UNKNOWN].unique(return_counts=True)[1]
        log.info("Surrogate classes: %s, of %s to %s inputs", f"{len(sizes):,}", int(sizes.min()), int(sizes.max()))
        pictures.save_classes(dataset, views, classes, config.seed, config.augment.scale, run.folder / "classes.png")
    shown = batches.at(0)
    pictures.save_views(shown, views, method.n_views, config.seed, config.augment.scale, run.folder / "views.png")
    monitor = None
    if phase.evaluate_every:
        monitor = knn_monitor(dataset.train, dataset.cases, config.augment.scale, here, config.seed)
    fitted = fit(method, batches, views, phase, run, here, config.seed, monitor)

    run.save_weights("backbone", method.backbone)
    if method.head is not None:
        run.save_weights("head", method.head)
    plots.save_curves(run.folder, run.folder / "curves.png")
    pictures.save_pretext(
        shown.inputs, views, method, config.seed, config.augment.scale, here, run.folder / "pretext.png"
    )
    pictures.save_answers(dataset, views, method, config.seed, here, run.folder / "pretext_confusion.png")
    spread = fitted.last.get("spread")
    return run.finish(
        {
            "stage": "pretrain",
            "test_accuracy": None,
            "labels": 0,
            "seed": config.seed,
            "images_per_second": round(fitted.inputs_per_second, 1),
            "backbone_parameters": parameters,
            "dataset": config.dataset.name,
            "source": source,
            "inputs": batches.count,
            "start": origin(start),
            "surrogate_classes": None if classes is None else len(sizes),
            "method": config.method.name,
            "backbone": config.backbone.name,
            "identity": identity.pretraining(config, dataset, here),
            "steps": fitted.steps,
            "epochs": round(fitted.epochs, 3),
            "loss": fitted.last["loss"],
            "spread": spread,
            "collapsed": spread is not None and spread < COLLAPSED,
            "knn_accuracy": fitted.last.get("knn_accuracy"),
            "compile": fitted.compile,
            "environment": here.environment(),
        }
    )


def material(config: Config, dataset: Dataset, run: Run, here: Machine) -> tuple[Method, Batches | CaseBatches, Views]:
    """What a pre-training is made of: the method on its device, its batches, its views."""
    inputs, items = dataset.train.inputs, _inputs(dataset, config)
    method = here.place(pretraining_method(config, dataset, started_from(config)))
    if method.source is not None:
        _check_source(config, dataset, method.source)
        inputs, items, classes = method.source.inputs, None, method.source.labels
    else:
        classes = surrogate_classes(method, items, dataset, run, here)
        items = items if classes is None else (classes != UNKNOWN).nonzero()[:, 0]
    phase = config.schedule.pretrain
    how = (items, phase.batch_size, phase.order, config.seed, phase.steps_per_epoch)
    batches = CaseBatches(inputs, dataset.cases, *how) if pairs(config) else Batches(inputs, classes, *how)
    return method, batches, build(config.augment.pretrain, scale=config.augment.scale)


def _check_source(config: Config, dataset: Dataset, source: Split) -> None:
    """Raises ConfigError where a source of labels does not fit the network, or shares inputs with the target."""
    problems = list(source_problems(config, dataset.shape, tuple(source.inputs.shape[1:])))
    shared = overlap(dataset, source)
    if shared > SHARED:
        problems.append(
            f"dataset@method.source={config.method.arguments['source'].name}: has {shared:.0%} of the inputs of "
            f"dataset={config.dataset.name}, whose labels would leak into pre-training; take another source"
        )
    if problems:
        raise ConfigError(*problems)


def pretraining_method(config: Config, dataset: Dataset, start: Path | None = None) -> Method:
    """The method with fresh weights, which depend on the seed alone, or with those that a pre-training ended with.

    The weights are there before the method is made, since some make a copy of the network.
    """
    backbone, head = fresh_backbone(config, dataset), heads.projection(config.head)
    if start:
        load_backbone(backbone, start, f"start={config.start}", config)
        if (start / "head.safetensors").exists():
            head = partial(_head_from, read_weights(start, "head"), head)
    torch.manual_seed(derived_seed(config.seed, "projection"))
    items = _inputs(dataset, config)
    offered = {
        "backbone": backbone,
        "head": head,
        "shape": dataset.shape,
        "scale": config.augment.scale,
        "inputs": len(dataset.train) if items is None else len(items),
        "cases": dataset.cases,
    }
    taken = signatures.parameters(config.method.path)
    return build(config.method, **{name: thing for name, thing in offered.items() if name in taken})


def load_backbone(backbone: nn.Module, folder: Path, asked: str, config: Config) -> None:
    """The backbone's weights from a finished run.

    Raises:
        ConfigError: they are damaged, or do not fit, since that run's inputs had other colours or sides.
    """
    weights = read_weights(folder, "backbone")
    if not _fit(weights, backbone):
        raise ConfigError(
            f"{asked}: was trained on dataset={read_result(folder)['dataset']}, whose inputs have other colours or sides "
            f"than those of dataset={config.dataset.name}, and need another backbone"
        )
    backbone.load_state_dict(weights)


def _head_from(weights: dict[str, torch.Tensor], make, inputs: int, classes: int | None = None) -> nn.Module:
    """A projection head, with the weights of an earlier one if that was of the same shape."""
    head = make(inputs=inputs) if classes is None else make(inputs=inputs, classes=classes)
    if _fit(weights, head):
        head.load_state_dict(weights)
    return head


def _fit(weights: dict[str, torch.Tensor], module: nn.Module) -> bool:
    own = module.state_dict()
    return {key: value.shape for key, value in weights.items()} == {key: value.shape for key, value in own.items()}


def fresh_backbone(config: Config, dataset: Dataset) -> nn.Module:
    """The backbone with fresh weights; pre-training and the baseline begin with the same ones."""
    torch.manual_seed(derived_seed(config.seed, "backbone"))
    return build(config.backbone, shape=dataset.shape)


def count_parameters(module: nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in module.parameters())


def _inputs(dataset: Dataset, config: Config) -> torch.Tensor | None:
    if config.budget.pretrain_on == "all":
        return None
    seen = torch.ones(len(dataset.train), dtype=torch.bool)
    seen[choose(dataset, config.budget, config.seed).all] = False
    return seen.nonzero()[:, 0]


def obtain(config: Config, run: Run, dataset: Dataset, here: Machine) -> Path:
    """The folder of the pre-training to start from: the one asked for, one with the same settings, or a new one.

    Raises:
        ConfigError: the run asked for is not finished, is no pre-training or has another architecture.
    """
    if config.checkpoint != "auto":
        return asked_for(config)
    started_from(config)
    own = run.folder / "pretrain"
    choice = run.folder / "start.json"  # a resumed run starts from what it started from
    wanted = identity.pretraining(config, dataset, here)
    if choice.exists():
        chosen = Path(str(json.loads(choice.read_text())))
        if _is_usable(chosen, wanted):
            return chosen
        log.warning("start.json names %s, which is no pre-training with these settings; it is not used.", chosen)
    if not own.exists():
        check_features(config)
        for root in dict.fromkeys((config.outputs, run.folder.parent, run.folder.parent.parent)):
            found = _find(root, wanted, deep=root == config.outputs)
            if found:
                log.info("Pre-trained already with these settings: %s", short(found))
                write(choice, json.dumps(str(found)))
                return found
    settings = replace(config, stage=PretrainStage("pretrain"))
    pretrain(settings, run.child("pretrain", settings))
    return own


def _find(root: Path, wanted: str, deep: bool) -> Path | None:
    folders = (folder for folder, _ in finished_runs(root)) if deep else (path.parent for path in _near(root))
    return next((folder for folder in folders if _is_usable(folder, wanted)), None)


def _is_usable(folder: Path, wanted: str) -> bool:
    """Whether a folder holds the finished pre-training of an identity, with weights that something can start from."""
    result = read_result(folder)
    if result is None or result.get("identity") != wanted:
        return False
    try:
        read_weights(folder, "backbone")
    except ConfigError as error:
        log.warning("A pre-training with these settings is not used: %s.", error)
        return False
    return True


def _near(root: Path) -> list[Path]:
    """Results beside a run that was given a folder of its own outside `outputs`."""
    return sorted(
        [*root.glob("*/result.json"), *root.glob("*/pretrain/result.json"), *root.glob("*/*/pretrain/result.json")]
    )
