"""Training on the label budget, from pre-trained or from random weights."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import Config
from ssl_cli.data.batches import Batches
from ssl_cli.data.budget import Chosen
from ssl_cli.data.types import Dataset, Inputs, Plain, Split, as_tensor
from ssl_cli.methods.networks import count_parameters, count_trained
from ssl_cli.methods.supervised import Supervised
from ssl_cli.models import heads
from ssl_cli.models.low_rank import merge_low_rank
from ssl_cli.randomness import Draws
from ssl_cli.runs.files import quoted, short
from ssl_cli.runs.finished import origin
from ssl_cli.runs.run import Run
from ssl_cli.stages import folds, suspect_labels
from ssl_cli.stages.classifier_results import (
    caveats,
    count_trained_on,
    opened,
    protocol,
    smaller_things,
    tested,
    too_short,
    watcher,
)  # fmt: skip
from ssl_cli.stages.feature_maps import save_feature_maps
from ssl_cli.stages.finetune_settings import SupervisedStage
from ssl_cli.stages.fit import note_long_texts, note_smaller_batches
from ssl_cli.stages.folds import CrossValidated
from ssl_cli.stages.networks import fresh_classifier, plain_of, views_of
from ssl_cli.stages.start import find_or_pretrain
from ssl_cli.training.device import Machine
from ssl_cli.training.evaluate import outputs
from ssl_cli.training.loop import Views, fit

log = logging.getLogger("ssl_cli")


def finetune(config: Config, run: Run, start: Path | None = None, divided: folds.Folds | None = None) -> dict[str, Any]:
    """Train a classifier and test it once, or its labels in folds, or both; the numbers of the run.

    Args:
        config: the settings; `stage.name` says whether it starts from a pre-training.
        run: its folder.
        start: the pre-training's folder, where the caller knows it; else `config.checkpoint` says it.
        divided: the folds of the labels, where the caller knows them and this run leaves one out.
    """
    if run.result:
        return run.result
    stage = config.stage_as(SupervisedStage)
    here, dataset, chosen = opened(
        config, run, None if stage.fold is None else partial(folds.without_fold, config, divided)
    )
    parts = folds.divided(config, dataset, chosen) if stage.folds and stage.fold is None else None
    pretrained = stage.name == "finetune"
    start = (start or find_or_pretrain(config, run, dataset, here)) if pretrained else None
    crossed = parts and folds.cross_validated(
        config, run, dataset, parts, lambda own, child: finetune(own, child, start, parts)
    )
    method = fresh_classifier(config, dataset, start)
    method.weigh_classes(
        config.schedule.supervised.class_weights, dataset.train.labels[chosen.train], len(dataset.classes)
    )
    method = here.place(method)
    arm, part = stage.arm(config), stage.trained_part
    beside = count_trained(method.backbone) if part.kind == "lora" else 0  # which are no weights of the backbone
    log.info(
        "%s: %s (%s parameters), %s labels of %s, on %s → %s",
        arm, config.backbone.name, f"{count_parameters(method.backbone) - beside:,}", len(chosen), config.dataset.name,
        here.described(), short(run.folder),
    )  # fmt: skip
    plain = plain_of(config, dataset)
    note_long_texts(config, dataset)
    slope = _softmax_slope(method, dataset, chosen, plain, here)
    backbone = method.backbone
    views, train, validation, test = views_and_data(config, dataset, chosen, method, here)
    phase = config.schedule.supervised
    monitor, select = watcher(phase.select, plain, validation, test, here)
    batches = Batches(*train, phase.batch_size, phase.order, config.seed, phase.steps_per_epoch)
    note_smaller_batches("schedule.supervised.batch_size", phase.batch_size, batches.size, "labels to train on")
    trained = count_trained(method)
    if part.kind != "all":
        log.info("Trained: %s parameters, with those of the head.", f"{trained:,}")
    fitted = fit(method, batches, views, phase, run, here, config.seed, monitor, select)

    merge_low_rank(backbone)
    result = tested(config, run, method, backbone, test, validation, dataset, chosen, fitted, here, start)
    # A pre-training sees no labels, and may have seen the inputs of a fold.
    seen = result.caveats if stage.fold is None else []
    if stage.fold is not None:
        folds.save_answers(run, outputs(method, test.inputs, plain, here))
    elif start is not None and not run.is_inside:
        save_feature_maps(config, run.folder, dataset, chosen, start, here)
    return run.finish(
        replace(
            result,
            folds=crossed and crossed.numbers,
            fold=stage.fold,
            suspect_labels=_suspects(config, run, dataset, chosen, crossed, start, here),
            trained_parameters=trained,
            labels_trained_on=count_trained_on(batches),
            train_accuracy=fitted.last["accuracy"],
            softmax_slope_at_start=slope,
            protocol=_protocol(config, dataset),
            caveats=seen + caveats(config, batches) + smaller_things(views) + too_short(fitted.steps, start),
            pretraining=origin(start),
        )
    )


def _suspects(
    config: Config, run: Run, dataset: Dataset, chosen: Chosen, crossed: CrossValidated | None, start: Path | None,
    here: Machine,
) -> dict[str, Any] | None:  # fmt: skip
    if config.stage_as(SupervisedStage).fold is not None:  # the run around it examines all folds
        return None
    if crossed is None:
        return suspect_labels.save_suspect_labels(config, run.folder, dataset, chosen, here, start)
    by = f"classifiers of {len(crossed.numbers['per_fold'])} folds"
    return suspect_labels.write_suspects(run.folder, dataset, crossed.items, crossed.probabilities, len(chosen), by)


def _protocol(config: Config, dataset: Dataset) -> str:
    stage, said = config.stage_as(SupervisedStage), protocol(config)
    if stage.fold is not None:
        return f"{said.partition(';')[0]}; fold {stage.fold} of {stage.folds} tested in place of the test set"
    each = "each label tested once, by a classifier that did not see it"
    return said if len(dataset.test) else f"{said.partition(';')[0]}; {each}"


def tuned(config: Config, run: Run, name: str) -> tuple[Path, Config]:
    """Folder and settings of a fine-tuning with the settings of a run, made below its folder if it is not there yet."""
    own = replace(config, stage=SupervisedStage("finetune"))
    child = run.child(name, own)
    finetune(own, child)
    return child.folder, own


def views_and_data(
    config: Config, dataset: Dataset, chosen: Chosen, method: Supervised, here: Machine
) -> tuple[Views, tuple[Inputs, Tensor, Tensor | None], Split, Split]:
    """Views, training data (inputs, labels, items), validation and test split.

    Where the backbone is frozen its features take the inputs' place, computed once.
    """
    train, test = dataset.train, dataset.test
    held_out = Split(train.inputs[chosen.validation], train.labels[chosen.validation])
    if not config.stage_as(SupervisedStage).frozen:
        return views_of(config, dataset), (train.inputs, train.labels, chosen.train), held_out, test
    backbone, plain = method.backbone, plain_of(config, dataset)
    method.backbone = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]  # what it gets are features

    def featured(split: Split) -> Split:
        return Split(outputs(backbone, split.inputs, plain, here), split.labels) if len(split) else split

    seen = featured(Split(train.inputs[chosen.train], train.labels[chosen.train]))
    method.head = here.place(nn.Sequential(heads.Standardise(as_tensor(seen.inputs)), method.head))
    return as_they_are, (seen.inputs, seen.labels, None), featured(held_out), featured(test)


def as_they_are(inputs: Tensor, count: int, draws: Draws) -> tuple[Tensor, ...]:
    """The views of features: there is nothing to vary."""
    return (inputs.to(draws.device),) * count


def plain_features(inputs: Inputs, device: torch.device) -> Tensor:
    """Features as evaluation sees them: as they are."""
    return as_tensor(inputs).to(device)


def _softmax_slope(method: Supervised, dataset: Dataset, chosen: Chosen, plain: Plain, here: Machine) -> float | None:
    """How much gradient the head's softmax lets through before training; None where there is no softmax inside."""
    if not any(isinstance(module, nn.Softmax) for module in method.head.modules()):
        return None
    answers = outputs(method, dataset.train.inputs[chosen.train], plain, here)
    return round(heads.saturation(answers), 5)


def closing(result: dict[str, Any], run: Run) -> None:
    """The one number of a classifier, and what to know of it."""
    said = [folds.in_words(result["folds"])] if result.get("folds") else []
    fold = result.get("fold")  # of fine-tuning; other classifiers know no folds
    if result["test_accuracy"] is not None:
        tested_on = "test accuracy" if fold is None else f"accuracy on fold {fold}"
        said.insert(0, f"{tested_on} {100 * result['test_accuracy']:.1f} % (macro-F1 {100 * result['macro_f1']:.1f} %)")
    found = ", ".join(said)
    log.info(
        "%s with %s labels: %s, %.0f s. In %s",
        found[0].upper() + found[1:], f"{result['labels']:,}", result["arm"], result["seconds"], quoted(run.folder),
    )  # fmt: skip
    if "suspect_labels" in result and fold is None:
        log.info("%s", suspect_labels.in_words(result["suspect_labels"]))
    for caveat in result["caveats"]:
        log.info("Note: %s.", caveat)


def next_steps(config: Config, result: dict[str, Any], run: Run) -> Iterator[tuple[str, str]]:
    """Set it beside what one would do without it."""
    if result["test_accuracy"] is not None:
        yield run.command("compare"), "the same settings with every arm beside it"
