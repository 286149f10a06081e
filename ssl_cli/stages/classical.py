"""Logistic regression on features that no network makes: what the labels give without this tool."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.schema import Config
from ssl_cli.data.budget import Chosen, choose
from ssl_cli.data.languages import test_by_language
from ssl_cli.data.measures import balanced_accuracy, confusion, macro_f1
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.types import Dataset, Inputs, as_tensor, as_texts
from ssl_cli.errors import ConfigError
from ssl_cli.models import word_features
from ssl_cli.report import plots
from ssl_cli.runs.result import Result
from ssl_cli.runs.run import Run
from ssl_cli.stages.classical_settings import TEXT_FEATURES, ClassicalStage
from ssl_cli.stages.classifier_results import opened
from ssl_cli.stages.finetune import closing
from ssl_cli.stages.identity import classifier_identity

__all__ = ["classical", "closing", "fitted"]  # it ends as every classifier does


@dataclass(frozen=True, kw_only=True)
class ClassicalResult(Result):
    """Of a classical baseline; the keys are those of a classifier, as far as they apply."""

    classes: int
    labels_hash: str
    macro_f1: float
    balanced_accuracy: float
    pretraining: None = None
    languages: dict[str, dict[str, Any]] | None = None


def classical(config: Config, run: Run) -> dict[str, Any]:
    """Fit the features on all training inputs and the classifier on the labels; test it once; the numbers of the run.

    Raises:
        ConfigError: the features are for other inputs.
    """
    if run.result:
        return run.result
    here, dataset, chosen = opened(config, run)
    predicted = fitted(config, dataset, chosen)(dataset.test.inputs)
    table = confusion(predicted, dataset.test.labels, len(dataset.classes))
    plots.save_confusion(table, dataset.classes, run.folder / "confusion.png", "true class", "answer", "test accuracy")
    return run.finish(
        ClassicalResult(
            identity=classifier_identity(config, dataset, here),
            labels=len(chosen),
            test_accuracy=round(float((predicted == dataset.test.labels).float().mean()), 6),
            macro_f1=round(macro_f1(table), 6),
            balanced_accuracy=round(balanced_accuracy(table), 6),
            backbone="none",
            backbone_parameters=0,
            environment=here.environment(),
            protocol="test set read once",
            classes=len(dataset.classes),
            labels_hash=chosen.hash(),
            languages=test_by_language(dataset, predicted, chosen.all),
        )
    )


def fitted(config: Config, dataset: Dataset, chosen: Chosen | None = None) -> Callable[[Inputs], Tensor]:
    """The classifier of a run, fitted in seconds and the same each time: inputs → predicted classes, int64 (N,).

    Args:
        config: of the run.
        dataset: its data.
        chosen: its labels, where they are chosen already.

    Raises:
        ConfigError: the features are for other inputs.
    """
    from sklearn.linear_model import LogisticRegression

    stage, vocabulary = config.stage_as(ClassicalStage), dataset.vocabulary
    features = stage.features_for(vocabulary is not None)
    if (vocabulary is not None) != (features in TEXT_FEATURES):
        raise ConfigError(f"stage.features={features}: is for other inputs than those of dataset={dataset.name}")
    items = (chosen or choose(dataset, config.budget, config.seed)).all
    labels = dataset.train.labels[items].numpy()
    regression = LogisticRegression(C=stage.C, max_iter=2000)
    if vocabulary is None:
        regression.fit(_pixels(dataset.train.inputs[items]), labels)
        return lambda inputs: torch.from_numpy(regression.predict(_pixels(inputs)))
    texts = texts_of(vocabulary, as_texts(dataset.train.inputs))
    try:
        of_training, read = word_features.fitted(features, texts, stage.components, config.seed)
    except ValueError as error:
        raise ConfigError(f"stage.features={features}: no word is in two training texts") from error
    regression.fit(of_training[items.numpy()], labels)
    return lambda inputs: torch.from_numpy(regression.predict(read(texts_of(vocabulary, as_texts(inputs)))))


def _pixels(inputs: Inputs) -> np.ndarray:
    """Pixels in 0–1 of images that are uint8, or are in that range already: float (N, D)."""
    images = as_tensor(inputs).flatten(1).cpu()
    return (images if images.is_floating_point() else images.float().div(255)).numpy()
