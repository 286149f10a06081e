"""Training on the label budget, from pre-trained or from random weights."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import Config
from ssl_cli.data.batches import Batches
from ssl_cli.data.budget import Chosen, choose
from ssl_cli.data.languages import test_by_language
from ssl_cli.data.measures import balanced_accuracy, confusion, macro_f1, per_class
from ssl_cli.data.types import Dataset, Inputs, Plain, Split, as_tensor
from ssl_cli.methods.base import Classifier
from ssl_cli.methods.networks import count_parameters
from ssl_cli.methods.supervised import Supervised
from ssl_cli.models import heads
from ssl_cli.randomness import Draws
from ssl_cli.report import plots
from ssl_cli.runs.files import as_csv, quoted, short, write
from ssl_cli.runs.finished import origin
from ssl_cli.runs.result import Result, read_result
from ssl_cli.runs.run import Run
from ssl_cli.stages.calibration import save_calibration
from ssl_cli.stages.finetune_settings import SupervisedStage
from ssl_cli.stages.fit import note_long_texts, note_smaller_batches, open_dataset
from ssl_cli.stages.identity import classifier_identity
from ssl_cli.stages.inputs import save_inputs
from ssl_cli.stages.mistakes import save_mistakes
from ssl_cli.stages.networks import fresh_classifier, plain_of, views_of
from ssl_cli.stages.start import find_or_pretrain
from ssl_cli.training.device import Machine, machine_of
from ssl_cli.training.evaluate import class_accuracy, outputs
from ssl_cli.training.loop import Fitted, Views, fit

log = logging.getLogger("ssl_cli")

FEWEST, FEWEST_OF_PRETRAINING = 20, 50  # steps that can mean anything


@dataclass(frozen=True, kw_only=True)
class ClassifierResult(Result):
    """Of a classifier; what is None does not concern how it was trained.

    labels_hash: the same for the same labels in the same parts.
    macro_f1, balanced_accuracy: of the test, where every class counts the same; see `data.measures`.
    languages: of the texts in each language; see `data.languages.by_language`.
    per_class: see `data.measures.per_class`.
    best_step: the one whose weights were kept, where a number chose them.
    softmax_slope_at_start: see `models.heads.saturation`; pretraining: what the pre-training behind it was.
    agreement: of a student with its teacher; teacher: what that was.
    confident_fraction: of unlabelled inputs whose pseudo-label was learnt from, in the end; inputs: how many there were.
    """

    classes: int
    labels_hash: str
    macro_f1: float
    balanced_accuracy: float
    validation_accuracy: float | None
    steps: int
    best_step: int | None
    epochs: float
    train_loss: float
    compile: dict[str, Any]
    train_accuracy: float | None = None
    labels_trained_on: int | None = None
    softmax_slope_at_start: float | None = None
    pretraining: dict[str, Any] | None = None
    agreement: float | None = None
    teacher: dict[str, Any] | None = None
    inputs: int | None = None
    confident_fraction: float | None = None
    languages: dict[str, dict[str, Any]] | None = None
    per_class: list[dict[str, Any]] | None = None


def finetune(config: Config, run: Run, start: Path | None = None) -> dict[str, Any]:
    """Train a classifier and test it once; the numbers of the run.

    Args:
        config: the settings; `stage.name` says whether it starts from a pre-training.
        run: its folder.
        start: the pre-training's folder, where the caller knows it; else `config.checkpoint` says it.
    """
    if run.result:
        return run.result
    here, dataset, chosen = opened(config, run)
    pretrained = config.stage.name == "finetune"
    start = (start or find_or_pretrain(config, run, dataset, here)) if pretrained else None
    method = fresh_classifier(config, dataset, start)
    method.weigh_classes(
        config.schedule.supervised.class_weights, dataset.train.labels[chosen.train], len(dataset.classes)
    )
    method = here.place(method)
    arm = config.stage.arm(config)
    log.info(
        "%s: %s (%s parameters), %s labels of %s, on %s → %s",
        arm, config.backbone.name, f"{count_parameters(method.backbone):,}", len(chosen), config.dataset.name,
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
    fitted = fit(method, batches, views, phase, run, here, config.seed, monitor, select)

    result = tested(config, run, method, backbone, test, validation, dataset, chosen, fitted, here, start)
    return run.finish(
        replace(
            result,
            labels_trained_on=_trained_on(batches),
            train_accuracy=fitted.last["accuracy"],
            softmax_slope_at_start=slope,
            protocol=protocol(config),
            caveats=caveats(config, batches) + too_short("training on labels", fitted.steps, FEWEST) + _of_start(start),
            pretraining=origin(start),
        )
    )


def tuned(config: Config, run: Run, name: str) -> tuple[Path, Config]:
    """Folder and settings of a fine-tuning with the settings of a run, made below its folder if it is not there yet."""
    own = replace(config, stage=SupervisedStage("finetune", frozen=False))
    child = run.child(name, own)
    finetune(own, child)
    return child.folder, own


def opened(config: Config, run: Run) -> tuple[Machine, Dataset, Chosen]:
    """The machine, the data and the labels of a run that may see some; `labels.csv` says which."""
    here = machine_of(run, config.runtime)
    dataset = open_dataset(config, run)
    chosen = choose(dataset, config.budget, config.seed)
    write(run.folder / "labels.csv", _labels_csv(dataset, chosen))
    return here, dataset, chosen


def tested(
    config: Config, run: Run, method: Classifier, backbone: nn.Module, test: Split, validation: Split, dataset: Dataset,
    chosen: Chosen, fitted: Fitted, here: Machine, *starts_from: Path | None,
) -> ClassifierResult:  # fmt: skip
    """Test a trained classifier once, save its weights and pictures; the numbers that every classifier has.

    Its probabilities are calibrated on `validation`, the part of the budget that was not trained on, if that is not empty.
    `starts_from` are the folders of the runs whose weights it began with or learnt from.
    """
    plain = plain_of(config, dataset)
    answers = outputs(method, test.inputs, plain, here)
    run.save_weights("backbone", backbone)
    save_inputs(run, dataset, dataset.classes)
    if len(validation):
        save_calibration(run.folder, outputs(method, validation.inputs, plain, here), validation.labels)
    run.save_weights("classifier", method.head)
    table = confusion(answers.argmax(1), test.labels, len(dataset.classes))
    picture = run.folder / "confusion.png"
    plots.save_confusion(table, dataset.classes, picture, "true class", "answer", "test accuracy")
    plots.save_curves(run.folder, run.folder / "curves.png")
    save_mistakes(dataset, chosen, answers, backbone, plain, here, run.folder)
    return ClassifierResult(
        identity=classifier_identity(config, dataset, here, starts_from),
        backbone_parameters=count_parameters(backbone),
        labels=len(chosen),
        test_accuracy=round(int((answers.argmax(1) == test.labels).sum()) / len(test), 6),
        images_per_second=round(fitted.inputs_per_second, 1),
        environment=here.environment(),
        classes=len(dataset.classes),
        labels_hash=chosen.hash(),
        macro_f1=round(macro_f1(table), 6),
        balanced_accuracy=round(balanced_accuracy(table), 6),
        validation_accuracy=fitted.last.get("validation_accuracy"),
        steps=fitted.steps,
        best_step=fitted.best_step,
        epochs=round(fitted.epochs, 3),
        train_loss=fitted.last["loss"],
        compile=fitted.compile,
        languages=test_by_language(dataset, answers.argmax(1), chosen.all),
        per_class=per_class(table, dataset.train.labels[chosen.all], dataset.classes),
    )


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


def watcher(
    choice: str, plain: Plain, validation: Split, test: Split, here: Machine
) -> tuple[Callable[[nn.Module], dict[str, float]] | None, str | None]:
    """What is watched while training, and which number chooses the weights. The test set is, only if asked for."""
    select = {"last": None, "best_validation": "validation_accuracy", "best_test": "test_accuracy"}[choice]
    watched = {"validation_accuracy": validation} if len(validation) else {}
    if select == "test_accuracy":
        watched["test_accuracy"] = test

    def monitor(method: nn.Module) -> dict[str, float]:
        return {name: class_accuracy(method, split, plain, here) for name, split in watched.items()}

    return (monitor if watched else None), select


def protocol(config: Config) -> str:
    """In words: which weights count, and what the test set was used for."""
    supervised = config.schedule.supervised
    if supervised.select == "best_test":
        return (
            f"the best of the test accuracies after every {supervised.evaluate_every} epochs: chosen on the test set, "
            "so optimistic"
        )
    if supervised.select == "best_validation":
        return "the weights with the best validation accuracy; test set read once"
    return "the last weights; test set read once"


def caveats(config: Config, batches: Batches) -> list[str]:
    """What a reader of the number should know of questionable habits in the settings."""
    found = []
    if config.head.classifier.arguments.get("output") == "softmax":
        found.append("the head ends in a softmax and the cross-entropy takes another")
    return found + training_caveats(config, batches)


def too_short(training: str, steps: int, fewest: int) -> list[str]:
    """A sentence where a training took so few steps that its numbers mean nothing."""
    return [f"{training} took {steps} steps, too few for its numbers to mean anything"] if steps < fewest else []


def _of_start(start: Path | None) -> list[str]:
    """The same of the pre-training behind it; a model of the library transformers does not say how long it was trained."""
    steps = None if start is None else (read_result(start) or {}).get("steps")
    return [] if steps is None else too_short("pre-training", steps, FEWEST_OF_PRETRAINING)


def training_caveats(config: Config, batches: Batches) -> list[str]:
    """Those of them that are about labels, whatever is trained on them."""
    found: list[str] = []
    unseen = batches.count - _trained_on(batches)
    if unseen:
        found.append(f"{unseen} of {batches.count} labels were never trained on")
    if config.schedule.supervised.select == "best_test":
        found.append("the weights were chosen on the test set, so the accuracy is optimistic")
    return found


def _softmax_slope(method: Supervised, dataset: Dataset, chosen: Chosen, plain: Plain, here: Machine) -> float | None:
    """How much gradient the head's softmax lets through before training; None where there is no softmax inside."""
    if not any(isinstance(module, nn.Softmax) for module in method.head.modules()):
        return None
    answers = outputs(method, dataset.train.inputs[chosen.train], plain, here)
    return round(heads.saturation(answers), 5)


def _trained_on(batches: Batches) -> int:
    """How many labels any epoch can see."""
    everything = batches.order == "shuffle"
    return batches.count if everything else batches.steps_per_epoch * batches.size


def _labels_csv(dataset: Dataset, chosen: Chosen) -> str:
    files = dataset.files.train if dataset.files else ()
    rows: list[list[object]] = [["item", "label", "class", "part", *(["path"] if files else [])]]
    for part, items in (("train", chosen.train), ("validation", chosen.validation)):
        for item in items.tolist():
            label = int(dataset.train.labels[item])
            rows.append([item, label, dataset.classes[label], part, *([files[item]] if files else [])])
    return as_csv(rows)


def closing(result: dict[str, Any], run: Run) -> None:
    """The one number of a classifier, and what to know of it."""
    log.info(
        "Test accuracy %.1f %% (macro-F1 %.1f %%) with %s labels: %s, %.0f s. In %s",
        100 * result["test_accuracy"], 100 * result["macro_f1"], f"{result['labels']:,}", result["arm"],
        result["seconds"], quoted(run.folder),
    )  # fmt: skip
    for caveat in result["caveats"]:
        log.info("Note: %s.", caveat)


def next_steps(config: Config, result: dict[str, Any], run: Run) -> Iterator[tuple[str, str]]:
    """Set it beside what one would do without it."""
    yield run.command("compare"), "the same settings with every arm beside it"
