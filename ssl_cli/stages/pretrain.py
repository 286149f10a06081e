"""Pre-training: every training input, no labels."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ssl_cli import heads, identity, signatures
from ssl_cli.augment.views import Views
from ssl_cli.config import build, plain
from ssl_cli.contradictions import pairs
from ssl_cli.data.batches import Batches, CaseBatches
from ssl_cli.data.budget import choose
from ssl_cli.data.datasets import UNKNOWN, Dataset, load
from ssl_cli.device import Machine, machine_of
from ssl_cli.errors import ConfigError
from ssl_cli.evaluate import knn_monitor
from ssl_cli.methods.base import Method
from ssl_cli.randomness import derived_seed
from ssl_cli.report import plots
from ssl_cli.runs import Run, finished_runs, read_result, short, write
from ssl_cli.schema import Config, PretrainStage
from ssl_cli.surrogates import check_features, surrogate_classes
from ssl_cli.train import COLLAPSED, fit

log = logging.getLogger("ssl_cli")


def pretrain(config: Config, run: Run) -> dict[str, Any]:
    """Train the backbone and the projection head; the numbers of the run."""
    if run.result:
        return run.result
    check_features(config)
    here = machine_of(run)
    dataset = load(config.dataset)
    method, batches, views = material(config, dataset, run, here)
    phase = config.schedule.pretrain
    parameters = count_parameters(method.backbone)
    log.info(
        "Pre-training with %s: %s (%s parameters), %s of %s, no labels, on %s → %s",
        config.method.name, config.backbone.name, f"{parameters:,}", f"{batches.count:,} inputs",
        config.dataset.name, here.described(), short(run.folder),
    )  # fmt: skip
    classes = None if pairs(config) else batches.labels
    if classes is not None:
        sizes = classes[classes != UNKNOWN].unique(return_counts=True)[1]
        log.info("Surrogate classes: %s, of %s to %s inputs", f"{len(sizes):,}", int(sizes.min()), int(sizes.max()))
        plots.save_classes(dataset, views, classes, config.seed, config.augment.scale, run.folder / "classes.png")
    plots.save_views(dataset, views, method.n_views, config.seed, config.augment.scale, run.folder / "views.png")
    monitor = None
    if phase.evaluate_every:
        monitor = knn_monitor(dataset.train, dataset.cases, config.augment.scale, here, config.seed)
    fitted = fit(method, batches, views, phase, run, here, config.seed, monitor)

    run.save_weights("backbone", method.backbone)
    if method.head is not None:
        run.save_weights("head", method.head)
    plots.save_curves(run.folder, run.folder / "curves.png")
    plots.save_pretext(dataset, views, method, config.seed, config.augment.scale, here, run.folder / "pretext.png")
    plots.save_answers(dataset, views, method, config.seed, here, run.folder / "pretext_confusion.png")
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
            "inputs": batches.count,
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
    items = _inputs(dataset, config)
    method = here.place(pretraining_method(config, dataset))
    classes = surrogate_classes(method, items, dataset, run, here)
    if classes is not None:
        items = (classes != UNKNOWN).nonzero()[:, 0]
    phase, inputs = config.schedule.pretrain, dataset.train.inputs
    how = (items, phase.batch_size, phase.order, config.seed, phase.steps_per_epoch)
    batches = CaseBatches(inputs, dataset.cases, *how) if pairs(config) else Batches(inputs, classes, *how)
    return method, batches, build(config.augment.pretrain, scale=config.augment.scale)


def pretraining_method(config: Config, dataset: Dataset) -> Method:
    """The method with fresh weights, which depend on the seed alone."""
    backbone = fresh_backbone(config, dataset)
    torch.manual_seed(derived_seed(config.seed, "projection"))
    items = _inputs(dataset, config)
    offered = {
        "backbone": backbone,
        "head": heads.projection(config.head),
        "shape": dataset.shape,
        "scale": config.augment.scale,
        "inputs": len(dataset.train) if items is None else len(items),
        "cases": dataset.cases,
    }
    taken = signatures.parameters(config.method.path)
    return build(config.method, **{name: thing for name, thing in offered.items() if name in taken})


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
    own = run.folder / "pretrain"
    choice = run.folder / "start.json"  # a resumed run starts from what it started from
    if choice.exists() and (chosen := Path(json.loads(choice.read_text()))).exists():
        return chosen
    if not own.exists():
        check_features(config)
        wanted = identity.pretraining(config, dataset, here)
        for root in dict.fromkeys((config.outputs, run.folder.parent, run.folder.parent.parent)):
            found = _find(root, wanted, deep=root == config.outputs)
            if found:
                log.info("Pre-trained already with these settings: %s", short(found))
                write(choice, json.dumps(str(found)))
                return found
    settings = replace(config, stage=PretrainStage("pretrain"))
    pretrain(settings, run.child("pretrain", settings))
    return own


def check_start(config: Config) -> None:
    """Before anything is trained, whether the pre-training can be had that a run starts from.

    Raises:
        ConfigError: the folder that `checkpoint` names does not fit, or that of the features that a new one would need.
    """
    if config.checkpoint == "auto":
        check_features(config)
    else:
        asked_for(config)


def _find(root: Path, wanted: str, deep: bool) -> Path | None:
    runs = finished_runs(root) if deep else ((path.parent, read_result(path.parent)) for path in _near(root))
    for folder, result in runs:
        if result.get("identity") == wanted and (folder / "backbone.safetensors").exists():
            return folder
    return None


def _near(root: Path) -> list[Path]:
    """Results beside a run that was given a folder of its own outside `outputs`."""
    return sorted(
        [*root.glob("*/result.json"), *root.glob("*/pretrain/result.json"), *root.glob("*/*/pretrain/result.json")]
    )


def asked_for(config: Config) -> Path:
    """The folder of the pre-training that `checkpoint` names.

    Raises:
        ConfigError: it is not finished, is no pre-training, or was trained with another network or range of pixels.
    """
    import yaml

    folder = Path(config.checkpoint).expanduser().absolute()
    if not (folder / "config.yaml").exists():
        raise ConfigError(
            f"checkpoint={config.checkpoint}: is no run's folder; it must be auto or the folder of a pre-training"
        )
    result = read_result(folder)
    if result is None:
        raise ConfigError(f"checkpoint={config.checkpoint}: is not finished; go on with it by resume={folder}")
    if result["stage"] != "pretrain":
        raise ConfigError(
            f"checkpoint={config.checkpoint}: is a run of stage={result['stage']}; it must be a pre-training"
        )
    theirs = yaml.safe_load((folder / "config.yaml").read_text())
    problems = []
    if theirs["augment"]["scale"] != config.augment.scale:
        problems.append(
            f"augment.scale={config.augment.scale:g}: checkpoint={config.checkpoint} was trained with "
            f"{theirs['augment']['scale']:g}"
        )
    for group, name in (("backbone", config.backbone.name), ("head", config.head.name)):
        own = plain(config.backbone if group == "backbone" else config.head.projection)
        other = theirs[group] if group == "backbone" else theirs[group]["projection"]
        needed = group == "backbone" or config.head.keep != 0
        if needed and {**own, "name": ""} != {**other, "name": ""}:
            problems.append(
                f"{group}={name}: checkpoint={config.checkpoint} was trained with {theirs[group]['name']} and its settings"
            )
    if problems:
        raise ConfigError(*problems)
    return folder
