"""Semi-supervised training: labelled and unlabelled inputs in each batch."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssl_cli.config.schema import Config
from ssl_cli.data.batches import Batches, MixedBatches
from ssl_cli.data.budget import Chosen
from ssl_cli.data.token_batch import joined
from ssl_cli.data.types import Dataset, Inputs, Split, View
from ssl_cli.methods.fixmatch import FixMatch
from ssl_cli.methods.networks import count_parameters
from ssl_cli.methods.pseudo_label import PseudoLabel
from ssl_cli.methods.supervised import Supervised
from ssl_cli.processes import own_size
from ssl_cli.randomness import Draws, derived_seed
from ssl_cli.runs.files import short
from ssl_cli.runs.finished import origin
from ssl_cli.runs.result import finished_result
from ssl_cli.runs.run import Run
from ssl_cli.stages.classifier_results import opened, smaller_things, tested, watcher
from ssl_cli.stages.finetune import closing, next_steps, tuned
from ssl_cli.stages.fit import note_smaller_batches
from ssl_cli.stages.networks import classifier_of, fresh_classifier, plain_of, views_of
from ssl_cli.stages.semi_settings import SemiStage
from ssl_cli.stages.start import find_or_pretrain
from ssl_cli.stages.suspect_labels import save_suspect_labels
from ssl_cli.training.device import Machine
from ssl_cli.training.loop import fit

__all__ = ["closing", "next_steps", "semi"]  # it ends as every classifier does

log = logging.getLogger("ssl_cli")


def semi(config: Config, run: Run) -> dict[str, Any]:
    """Train a classifier on labels and on pseudo-labels of all training inputs, and test it once; the run's numbers."""
    if run.result:
        return run.result
    stage = config.stage_as(SemiStage)
    here, dataset, chosen = opened(config, run)
    classifier, pretraining, starts_from = _start(config, run, dataset, here)
    method = here.place(_method(config, classifier))
    batches = mixed_batches(config, dataset, chosen)
    note_smaller_batches(
        "stage.labelled_batch_size", stage.labelled_batch_size, batches.labelled.size, "labels to train on"
    )
    log.info(
        "%s: %s (%s parameters), %s labels and %s inputs of %s, on %s → %s",
        stage.arm(config), config.backbone.name, f"{count_parameters(method.backbone):,}", len(chosen),
        f"{batches.unlabelled.count:,}", config.dataset.name, here.described(), short(run.folder),
    )  # fmt: skip
    views, plain = views_of(config, dataset), plain_of(config, dataset)
    size_note = smaller_things(views)
    if stage.method == "fixmatch":
        strong = views_of(config, dataset, stage.fixmatch.strong)
        if hasattr(strong, "resolution"):  # one batch has views of one size, and pre-training's may be of another
            strong.resolution = views.resolution
        views = WeakAndStrong(views, strong, batches.labelled.size, stage.fixmatch.teacher_input)
    held_out = Split(dataset.train.inputs[chosen.validation], dataset.train.labels[chosen.validation])
    monitor, _ = watcher("last", plain, held_out, dataset.test, here)
    fitted = fit(method, batches, views, config.schedule.semi, run, here, config.seed, monitor)

    averaged = isinstance(method, FixMatch)
    trained = method.teacher if averaged else method
    result = tested(
        config, run, trained, trained.backbone, dataset.test, held_out, dataset, chosen, fitted, here, starts_from
    )
    behind = Path(pretraining["folder"]) if pretraining else None  # of a fine-tuning too, which knows the labels
    return run.finish(
        replace(
            result,
            suspect_labels=save_suspect_labels(config, run.folder, dataset, chosen, here, behind),
            caveats=result.caveats + size_note,
            inputs=batches.unlabelled.count,
            train_accuracy=fitted.last["accuracy"],
            confident_fraction=fitted.last.get("confident_fraction"),
            protocol=f"the {'moving average of the' if averaged else 'last'} weights; test set read once",
            pretraining=pretraining,
        )
    )


def _start(
    config: Config, run: Run, dataset: Dataset, here: Machine
) -> tuple[Supervised, dict[str, Any] | None, Path | None]:
    """The classifier with its first weights, what the result says of the pre-training behind them, and their folder."""
    init = config.stage_as(SemiStage).init
    if init == "finetuned":
        folder, own = tuned(config, run, "finetune")
        return classifier_of(folder, own, dataset), finished_result(folder)["pretraining"], folder
    start = find_or_pretrain(config, run, dataset, here) if init == "pretrained" else None
    return fresh_classifier(config, dataset, start), origin(start), start


def _method(config: Config, fresh: Supervised) -> PseudoLabel | FixMatch:
    stage = config.stage_as(SemiStage)
    if stage.method == "fixmatch":
        settings = stage.fixmatch
        return FixMatch(
            fresh.backbone, fresh.head, settings.pseudo_labels_from, settings.threshold, settings.temperature,
            settings.unlabelled_weight, settings.momentum,
        )  # fmt: skip
    settings = stage.pseudo_label
    return PseudoLabel(fresh.backbone, fresh.head, settings.unlabelled_weight, settings.ramp_start, settings.ramp_end)


def mixed_batches(config: Config, dataset: Dataset, chosen: Chosen) -> MixedBatches:
    """The labels of the budget, and every training input without its label."""
    phase, train = config.schedule.semi, dataset.train
    size, own_order = config.stage_as(SemiStage).labelled_batch_size, derived_seed(config.seed, "labelled")
    return MixedBatches(
        Batches(train.inputs, train.labels, chosen.train, size, phase.order, own_order),
        Batches(train.inputs, None, None, phase.batch_size, phase.order, config.seed, phase.steps_per_epoch),
    )


@dataclass(frozen=True)
class WeakAndStrong:
    """A weak view of every input, and a strong one of those behind the `labelled` first.

    With `teacher_input=image`, the latter stand in place of their weak views without augmentation, in the size of views.
    """

    weak: Any
    strong: Any
    labelled: int
    teacher_input: str

    def __call__(self, inputs: Inputs, _count: int, draws: Draws) -> tuple[View, ...]:
        """L + U inputs → weak views of all, strong ones of U."""
        labelled = own_size(self.labelled)
        known, other = inputs[:labelled], inputs[labelled:]
        (strong,) = self.strong(other, 1, draws)
        if self.teacher_input == "weak_view":
            return (*self.weak(inputs, 1, draws), strong)
        image = self.weak.plain(other, draws.device)
        if hasattr(self.weak, "resized"):  # of images: one batch has views of one size
            image = self.weak.resized(image)
        return joined([*self.weak(known, 1, draws), image]), strong
