"""Cross-validation: each label of the budget is tested once, by a classifier that was trained without its fold.

Pre-training may have seen the inputs of every fold, since it sees no labels.
"""

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.schema import Config
from ssl_cli.data.budget import Chosen
from ssl_cli.data.folds import check_folds, folds_of, groups_of
from ssl_cli.data.intervals import cross_validated_interval
from ssl_cli.data.measures import confusion, macro_f1
from ssl_cli.data.types import Dataset, Split
from ssl_cli.errors import ConfigError
from ssl_cli.report import plots
from ssl_cli.runs.files import as_csv, write
from ssl_cli.runs.run import Run
from ssl_cli.stages.finetune_settings import SupervisedStage
from ssl_cli.stages.one_input import name_of

log = logging.getLogger("ssl_cli")

ANSWERS = "fold_answers.npy"  # in the folder of one fold: logits, float32 (N, classes), in the order of its items


@dataclass(frozen=True)
class Folds:
    """The labels of a budget, in folds.

    items: int64 (N,), indices into the training inputs; fold: of each, from 0 on; groups: which belong together.
    """

    items: Tensor
    fold: Tensor
    groups: Tensor

    def members(self, fold: int) -> Tensor:
        """The items of one fold, int64 (M,)."""
        return self.items[self.fold == fold]


@dataclass(frozen=True)
class CrossValidated:
    """What classifiers said of labels that they did not see.

    items: int64 (N,); probabilities: float (N, classes); numbers: for the result.
    """

    items: Tensor
    probabilities: Tensor
    numbers: dict[str, Any]


def divided(config: Config, dataset: Dataset, chosen: Chosen) -> Folds:
    """The folds of a budget, the same each time.

    Raises:
        ConfigError: a class has fewer labels than there are folds, or a fold would leave nothing to train or to choose by.
    """
    folds = config.stage_as(SupervisedStage).folds
    labels = dataset.train.labels[chosen.all]
    groups = groups_of(dataset, chosen.all)
    check_folds(dataset, labels, groups, folds)
    found = Folds(chosen.all, folds_of(labels, groups, folds, config.seed), groups)
    wanted = set(labels.tolist())
    for fold in range(folds):
        left = _without(chosen, found.members(fold))
        if missing := wanted - set(dataset.train.labels[left.train].tolist()):
            raise ConfigError(
                f"stage.folds={folds}: without fold {fold}, no label of class {dataset.classes[min(missing)]} is left to train "
                "on; use more folds, more labels, or a smaller budget.validation"
            )
        phase = config.schedule.supervised
        batches = len(left.train) // min(phase.batch_size, len(left.train))
        if phase.gradient_accumulation > batches:
            raise ConfigError(
                f"schedule.supervised.gradient_accumulation={phase.gradient_accumulation}: without fold {fold}, an epoch has "
                f"{batches:,} batches of {min(phase.batch_size, len(left.train))}; at most that many"
            )
        if phase.select == "best_validation" and not len(left.validation):
            raise ConfigError(
                f"stage.folds={folds}: without fold {fold}, no label is left to validate with, by which "
                "schedule.supervised.select=best_validation chooses; use a larger budget.validation, or select=last"
            )
    return found


def without_fold(config: Config, found: Folds | None, dataset: Dataset, chosen: Chosen) -> tuple[Dataset, Chosen]:
    """The data with the fold `stage.fold` in place of the test inputs, and the labels that are left.

    `found` are the folds of the budget, where the caller has them.
    """
    fold = config.stage_as(SupervisedStage).fold
    if fold is None:
        raise ValueError("stage.fold must be given")
    tested = (found or divided(config, dataset, chosen)).members(fold)
    train, files = dataset.train, dataset.files
    if files is not None:
        files = replace(files, test=[files.train[item] for item in tested.tolist()] if files.train else [])
    part = Split(train.inputs[tested], train.labels[tested])
    return replace(dataset, test=part, files=files), _without(chosen, tested)


def save_answers(run: Run, answers: Tensor) -> None:
    """Keep what the classifier of one fold says of it: logits, float (N, classes)."""
    content = io.BytesIO()
    np.save(content, answers.float().numpy())
    write(run.folder / ANSWERS, content.getvalue())


def cross_validated(
    config: Config, run: Run, dataset: Dataset, found: Folds, train: Callable[[Config, Run], Any]
) -> CrossValidated:
    """Train a classifier for each fold in a run inside this one; `folds.csv` and `folds.png` have all answers.

    Args:
        config, run, dataset: of the run.
        found: its labels in folds.
        train: carries out a run that leaves out and tests `stage.fold`.
    """
    stage = config.stage_as(SupervisedStage)
    logits = torch.zeros(len(found.items), len(dataset.classes))
    for fold in range(stage.folds):
        log.info("Cross-validation: fold %s of %s, %s labels", fold + 1, stage.folds, len(found.members(fold)))
        own = replace(config, stage=replace(stage, fold=fold))
        child = run.child(f"fold{fold}", own)
        train(own, child)
        logits[found.fold == fold] = _answers_of(child.folder, (len(found.members(fold)), len(dataset.classes)))
    labels, probabilities = dataset.train.labels[found.items], logits.softmax(1)
    table = confusion(logits.argmax(1), labels, len(dataset.classes))
    title = "cross-validated accuracy"
    plots.save_confusion(table, dataset.classes, run.folder / "folds.png", "true class", "answer", title)
    _save_answers_of_all(run, dataset, found, probabilities)
    return CrossValidated(found.items, probabilities, _numbers(found, logits.argmax(1) == labels, table, stage.folds))


def _answers_of(folder: Path, shape: tuple[int, int]) -> Tensor:
    """The logits that a finished fold has saved.

    Raises:
        ConfigError: they are not there, or damaged.
    """
    try:
        answers = np.load(folder / ANSWERS, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{folder / ANSWERS}: cannot be read ({error}); remove the folder {folder.name}") from error
    if answers.shape != shape or answers.dtype != np.float32:
        raise ConfigError(
            f"{folder / ANSWERS}: holds {answers.dtype} {answers.shape} and not float32 {shape}; remove the folder {folder.name}"
        )
    return torch.from_numpy(answers)


def in_words(numbers: dict[str, Any]) -> str:
    """Cross-validated accuracy with its interval, for one line."""
    return (
        f"cross-validated {100 * numbers['accuracy']:.1f} % ({100 * numbers['low']:.0f}–{100 * numbers['high']:.0f} %) "
        f"over {len(numbers['per_fold'])} folds"
    )


def _numbers(found: Folds, right: Tensor, table: Tensor, folds: int) -> dict[str, Any]:
    """`accuracy` of all answers and `macro_f1`; `low` and `high`, its 95 % interval; `groups` that do not know each other."""
    share, groups = float(right.float().mean()), len(found.groups.unique())
    low, high = cross_validated_interval(share, groups, folds)
    return {
        "accuracy": round(share, 6),
        "low": round(low, 6),
        "high": round(high, 6),
        "macro_f1": round(macro_f1(table), 6),
        "groups": groups,
        "per_fold": [
            {"labels": int(own.sum()), "accuracy": round(float(right[own].float().mean()), 6)}
            for own in (found.fold == fold for fold in range(folds))
        ],
    }


def _save_answers_of_all(run: Run, dataset: Dataset, found: Folds, probabilities: Tensor) -> None:
    files = dataset.files.train if dataset.files else ()
    highest, predicted = probabilities.max(1)
    rows = [
        (
            name_of(item, files),
            dataset.classes[int(dataset.train.labels[item])],
            fold,
            dataset.classes[said],
            f"{sure:.4f}",
        )
        for item, fold, said, sure in zip(
            found.items.tolist(), found.fold.tolist(), predicted.tolist(), highest.tolist(), strict=True
        )
    ]
    write(run.folder / "folds.csv", as_csv([("input", "class", "fold", "predicted", "probability"), *rows]))


def _without(chosen: Chosen, tested: Tensor) -> Chosen:
    return Chosen(*(part[~torch.isin(part, tested)] for part in (chosen.train, chosen.validation)))
