"""What every run that ends in a classifier shares: its labels, its test, its numbers, and what a reader of them should know."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ssl_cli.config.schema import Config
from ssl_cli.data.batches import Batches
from ssl_cli.data.budget import Chosen, choose
from ssl_cli.data.languages import test_by_language
from ssl_cli.data.measures import balanced_accuracy, confusion, macro_f1, per_class
from ssl_cli.data.types import Dataset, Plain, Split
from ssl_cli.errors import ConfigError
from ssl_cli.methods.base import Classifier
from ssl_cli.methods.networks import count_parameters
from ssl_cli.report import curves, plots
from ssl_cli.runs.files import as_csv, short, write
from ssl_cli.runs.reading import is_file
from ssl_cli.runs.result import Result, read_result
from ssl_cli.runs.run import Run
from ssl_cli.stages.calibration import save_calibration
from ssl_cli.stages.fit import open_dataset
from ssl_cli.stages.identity import classifier_identity
from ssl_cli.stages.inputs import save_inputs
from ssl_cli.stages.mistakes import save_mistakes
from ssl_cli.stages.networks import plain_of
from ssl_cli.stages.seen_before import seen_before
from ssl_cli.training.device import Machine, machine_of
from ssl_cli.training.evaluate import class_accuracy, outputs
from ssl_cli.training.loop import Fitted

FEWEST, FEWEST_OF_PRETRAINING = 20, 50  # steps that can mean anything
# Size of things in views, as a multiple of that in the tested images: 0.83 has cost eleven points of accuracy.
SMALLEST_THINGS = 0.9


@dataclass(frozen=True, kw_only=True)
class ClassifierResult(Result):
    """Of a classifier; what is None does not concern how it was trained.

    labels_hash: the same for the same labels in the same parts.
    macro_f1, balanced_accuracy: of the test, where every class counts the same; see `data.measures`; None without test inputs.
    languages: of the texts in each language; see `data.languages.by_language`.
    per_class: see `data.measures.per_class`.
    trained_parameters: of backbone and head together, in training on labels.
    best_step: the one whose weights were kept, where a number chose them.
    softmax_slope_at_start: see `models.heads.saturation`; pretraining: what the pre-training behind it was.
    agreement: of a student with its teacher; teacher: what that was.
    folds: of cross-validation; see `stages.folds`; fold: the one that was left out and tested, of a run inside such a one.
    suspect_labels: see `stages.suspect_labels`; None where nothing could examine them.
    confident_fraction: of unlabelled inputs whose pseudo-label was learnt from, in the end; inputs: how many there were.
    """

    classes: int
    labels_hash: str
    macro_f1: float | None
    balanced_accuracy: float | None
    validation_accuracy: float | None
    steps: int
    best_step: int | None
    epochs: float
    train_loss: float
    compile: dict[str, Any]
    train_accuracy: float | None = None
    labels_trained_on: int | None = None
    trained_parameters: int | None = None
    softmax_slope_at_start: float | None = None
    pretraining: dict[str, Any] | None = None
    agreement: float | None = None
    teacher: dict[str, Any] | None = None
    inputs: int | None = None
    confident_fraction: float | None = None
    languages: dict[str, dict[str, Any]] | None = None
    per_class: list[dict[str, Any]] | None = None
    folds: dict[str, Any] | None = None
    fold: int | None = None
    suspect_labels: dict[str, Any] | None = None


def opened(
    config: Config, run: Run, narrowed: Callable[[Dataset, Chosen], tuple[Dataset, Chosen]] | None = None
) -> tuple[Machine, Dataset, Chosen]:
    """The machine, the data and the labels of a run that may see some; `labels.csv` says which.

    Args:
        config, run: of the stage.
        narrowed: what takes some of the labels away, such as those of a fold.

    Raises:
        ConfigError: the run began with other labels.
    """
    here = machine_of(run, config.runtime)
    dataset = open_dataset(config, run)
    chosen = choose(dataset, config.budget, config.seed)
    if narrowed is not None:
        dataset, chosen = narrowed(dataset, chosen)
    save_labels(run, dataset, chosen)
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
    there = len(test) > 0  # where nothing was held out, folds of the labels are tested instead
    answers = outputs(method, test.inputs, plain, here) if there else torch.zeros(0, len(dataset.classes))
    run.save_weights("backbone", backbone)
    save_inputs(run, dataset, dataset.classes)
    if len(validation):
        save_calibration(run.folder, outputs(method, validation.inputs, plain, here), validation.labels)
    run.save_weights("classifier", method.head)
    table = confusion(answers.argmax(1), test.labels, len(dataset.classes))
    curves.save_curves(run.folder, run.folder / "curves.png")
    if there:
        picture = run.folder / "confusion.png"
        plots.save_confusion(table, dataset.classes, picture, "true class", "answer", "test accuracy")
        save_mistakes(dataset, chosen, answers, backbone, plain, here, run.folder)
    return ClassifierResult(
        identity=classifier_identity(config, dataset, here, starts_from),
        backbone_parameters=count_parameters(backbone),
        labels=len(chosen),
        test_accuracy=round(int((answers.argmax(1) == test.labels).sum()) / len(test), 6) if there else None,
        images_per_second=round(fitted.inputs_per_second, 1),
        environment=here.environment(),
        caveats=seen_before(dataset, starts_from),
        classes=len(dataset.classes),
        labels_hash=chosen.hash(),
        macro_f1=round(macro_f1(table), 6) if there else None,
        balanced_accuracy=round(balanced_accuracy(table), 6) if there else None,
        validation_accuracy=fitted.last.get("validation_accuracy"),
        steps=fitted.steps,
        best_step=fitted.best_step,
        epochs=round(fitted.epochs, 3),
        train_loss=fitted.last["loss"],
        compile=fitted.compile,
        languages=test_by_language(dataset, answers.argmax(1), chosen.all) if there else None,
        per_class=per_class(table, dataset.train.labels[chosen.all], dataset.classes),
    )


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


def too_short(steps: int, start: Path | None) -> list[str]:
    """A sentence for a training of so few steps that its numbers mean nothing, and for such a pre-training behind it.

    A model of the library transformers does not say how long it was trained.
    """
    before = None if start is None else (read_result(start) or {}).get("steps")
    taken = (("training on labels", steps, FEWEST), ("pre-training", before, FEWEST_OF_PRETRAINING))
    return [
        f"{training} took {count} steps, too few for its numbers to mean anything"
        for training, count, fewest in taken
        if count is not None and count < fewest
    ]


def smaller_things(views: Any) -> list[str]:
    """A sentence for views in which things are much smaller than in the images that are tested.

    After Touvron et al., "Fixing the train-test resolution discrepancy" (2019).
    """
    size = getattr(views, "magnification", 1.0)
    if size >= SMALLEST_THINGS:
        return []
    return [
        f"things are on average {size:.2f} times as large in the views of augment.supervised as in the images that are tested, "
        "which costs accuracy: raise its resolution, or crop smaller areas"
    ]


def training_caveats(config: Config, batches: Batches) -> list[str]:
    """Those of them that are about labels, whatever is trained on them."""
    found: list[str] = []
    unseen = batches.count - count_trained_on(batches)
    if unseen:
        found.append(f"{unseen} of {batches.count} labels were never trained on")
    if config.schedule.supervised.select == "best_test":
        found.append("the weights were chosen on the test set, so the accuracy is optimistic")
    return found


def count_trained_on(batches: Batches) -> int:
    """How many labels any epoch can see."""
    everything = batches.order == "shuffle"
    return batches.count if everything else batches.steps_per_epoch * batches.size


def save_labels(run: Run, dataset: Dataset, chosen: Chosen) -> None:
    """`labels.csv`: which labels a run may see.

    Raises:
        ConfigError: the run began with others, as where a table has changed since.
    """
    files = dataset.files.train if dataset.files else ()
    rows: list[list[object]] = [["item", "label", "class", "part", *(["path"] if files else [])]]
    for part, items in (("train", chosen.train), ("validation", chosen.validation)):
        for item in items.tolist():
            label = int(dataset.train.labels[item])
            rows.append([item, label, dataset.classes[label], part, *([files[item]] if files else [])])
    path, content = run.folder / "labels.csv", as_csv(rows)
    if is_file(path) and path.read_bytes() != content:
        raise ConfigError(
            f"resume={short(run.folder)}: began with other labels, which its labels.csv lists, than data and budget give now; "
            "put back what was changed, or begin a new run"
        )
    write(path, content)
