"""Distillation: a student learns a teacher's predictions on all training inputs."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ssl_cli.config.schema import Config
from ssl_cli.config.typecheck import shown
from ssl_cli.data.batches import Batches
from ssl_cli.data.budget import Chosen
from ssl_cli.data.dataset import load
from ssl_cli.data.types import UNKNOWN, Dataset, Inputs, Split, View
from ssl_cli.errors import ConfigError
from ssl_cli.methods.distillation import Distillation
from ssl_cli.methods.networks import count_parameters
from ssl_cli.randomness import Draws
from ssl_cli.runs.files import short
from ssl_cli.runs.finished import origin, settings_of
from ssl_cli.runs.result import finished_result
from ssl_cli.runs.run import Run
from ssl_cli.stages.classifier_results import opened, smaller_things, tested, watcher
from ssl_cli.stages.distill_settings import DistillStage
from ssl_cli.stages.finetune import closing, next_steps, tuned
from ssl_cli.stages.networks import classifier_of, fresh_classifier, views_of
from ssl_cli.stages.start import find_or_pretrain
from ssl_cli.stages.suspect_labels import save_suspect_labels
from ssl_cli.training.loop import fit

__all__ = ["closing", "distill", "next_steps"]  # it ends as every classifier does

log = logging.getLogger("ssl_cli")


def distill(config: Config, run: Run, start: Path | None = None) -> dict[str, Any]:
    """Train a student on a teacher's predictions and test it once; the numbers of the run.

    Args:
        config: the settings; `backbone` is the student's.
        run: its folder.
        start: the pre-training's folder, where the caller knows it and `stage.init` asks for one.

    Raises:
        ConfigError: the teacher is no finished classifier for this data.
    """
    if run.result:
        return run.result
    stage = config.stage_as(DistillStage)
    here, dataset, chosen = opened(config, run)
    teacher_folder, teacher_config = _teacher(config, run)
    _check(config, teacher_folder, teacher_config, dataset, chosen)
    if stage.init == "pretrained":
        start = start or find_or_pretrain(config, run, dataset, here)
    student = fresh_classifier(config, dataset, start)
    teacher = here.place(classifier_of(teacher_folder, teacher_config, dataset))
    method = here.place(Distillation(student.backbone, student.head, teacher, stage.temperature, stage.alpha))
    log.info(
        "%s: %s (%s parameters) from %s (%s parameters), %s inputs of %s, on %s → %s",
        stage.arm(config), config.backbone.name, f"{count_parameters(method.backbone):,}", teacher_config.backbone.name,
        f"{sum(p.numel() for p in teacher.backbone.parameters()):,}", f"{len(dataset.train):,}", config.dataset.name,
        here.described(), short(run.folder),
    )  # fmt: skip
    views = views_of(config, dataset)
    plain, size_note = views.plain, smaller_things(views)
    if stage.teacher_input == "image":
        views = _WithInputs(views)
    phase = config.schedule.distill
    seen = _seen(dataset, chosen)
    batches = Batches(
        dataset.train.inputs, seen, None, phase.batch_size, phase.order, config.seed, phase.steps_per_epoch
    )
    held_out = Split(dataset.train.inputs[chosen.validation], dataset.train.labels[chosen.validation])
    monitor, _ = watcher("last", plain, held_out, dataset.test, here)
    fitted = fit(method, batches, views, phase, run, here, config.seed, monitor)

    taught = finished_result(teacher_folder)
    starts_from = (start, teacher_folder)
    result = tested(
        config, run, method, method.backbone, dataset.test, held_out, dataset, chosen, fitted, here, *starts_from
    )
    return run.finish(
        replace(
            result,
            suspect_labels=save_suspect_labels(config, run.folder, dataset, chosen, here, *starts_from),
            caveats=result.caveats + size_note,
            agreement=fitted.last["agreement"],
            teacher={
                "folder": str(teacher_folder),
                **{key: taught[key] for key in ("run_id", "backbone", "backbone_parameters", "test_accuracy")},
            },
            protocol="the last weights; test set read once",
            pretraining=origin(start) or taught["pretraining"],
        )
    )


def _teacher(config: Config, run: Run) -> tuple[Path, Config]:
    """The teacher's folder and settings; `auto` fine-tunes one with the settings of this run."""
    asked = config.stage_as(DistillStage).teacher
    if asked != "auto":
        return asked, settings_of("stage.teacher", asked, "classifier")
    return tuned(config, run, "teacher")


def _check(config: Config, folder: Path, teacher: Config, dataset: Dataset, chosen: Chosen) -> None:
    problems: list[str] = []
    asked, taught = config.stage_as(DistillStage).teacher, finished_result(folder)
    if taught["labels_hash"] != chosen.hash():
        problems.append(
            f"stage.teacher={asked}: saw {taught['labels']:,} labels drawn with seed={taught['seed']}, other "
            f"ones than the {len(chosen):,} of this run; give the teacher's budget and seed"
        )
    if teacher.augment.scale != config.augment.scale:
        problems.append(
            f"augment.scale={shown(config.augment.scale)}: stage.teacher={asked} was trained with "
            f"{shown(teacher.augment.scale)}"
        )
    theirs, own = load(teacher.dataset), dataset
    if theirs.form != own.form or len(theirs.classes) != len(own.classes):
        problems.append(
            f"stage.teacher={asked}: was trained on dataset={teacher.dataset.name} with {len(theirs.classes)} "
            f"classes and {theirs.described()}; dataset={config.dataset.name} has {len(own.classes)} and {own.described()}"
        )
    if problems:
        raise ConfigError(*problems)


@dataclass(frozen=True)
class _WithInputs:
    """Views for the student, inputs without augmentation for the teacher."""

    views: Any

    def __call__(self, inputs: Inputs, count: int, draws: Draws) -> tuple[View, ...]:
        return (*self.views(inputs, count, draws), self.views.plain(inputs, draws.device))


def _seen(dataset: Dataset, chosen: Chosen) -> torch.Tensor:
    """The labels that may be seen, `UNKNOWN` everywhere else: int64 (N,)."""
    seen = torch.full_like(dataset.train.labels, UNKNOWN)
    seen[chosen.train] = dataset.train.labels[chosen.train]
    return seen
