"""Logistic regression on features that no network makes: what the labels give without this tool."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.schema import Config
from ssl_cli.data.budget import Chosen
from ssl_cli.data.measures import balanced_accuracy, confusion, macro_f1
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.tokens import Tokens
from ssl_cli.data.types import Dataset, Inputs, as_tensor, as_texts
from ssl_cli.errors import ConfigError
from ssl_cli.report import plots
from ssl_cli.runs.result import Result
from ssl_cli.runs.run import Run
from ssl_cli.stages.classical_settings import TEXT_FEATURES, ClassicalStage
from ssl_cli.stages.finetune import closing, opened
from ssl_cli.stages.identity import classifier_identity

__all__ = ["classical", "closing"]  # it ends as every classifier does


@dataclass(frozen=True, kw_only=True)
class ClassicalResult(Result):
    """Of a classical baseline; the keys are those of a classifier, as far as they apply."""

    classes: int
    labels_hash: str
    macro_f1: float
    balanced_accuracy: float
    pretraining: None = None


def classical(config: Config, run: Run) -> dict[str, Any]:
    """Fit the features on all training inputs and the classifier on the labels; test it once; the numbers of the run.

    Raises:
        ConfigError: the features are for other inputs.
    """
    if run.result:
        return run.result
    stage = config.stage_as(ClassicalStage)
    here, dataset, chosen = opened(config, run)
    has_texts = isinstance(dataset.train.inputs, Tokens)
    stage = replace(stage, features=stage.features_for(has_texts))
    if has_texts != (stage.features in TEXT_FEATURES):
        raise ConfigError(f"stage.features={stage.features}: is for other inputs than those of dataset={dataset.name}")
    predicted = _predictions(stage, dataset, chosen, config.seed)
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
        )
    )


def _predictions(stage: ClassicalStage, dataset: Dataset, chosen: Chosen, seed: int) -> Tensor:
    """Predicted classes of the test inputs: int64 (N,)."""
    from sklearn.linear_model import LogisticRegression

    train, test = _features(stage, dataset, seed)
    labels = dataset.train.labels[chosen.all].numpy()
    model = LogisticRegression(C=stage.C, max_iter=2000).fit(train[chosen.all.numpy()], labels)
    return torch.from_numpy(model.predict(test))


def _features(stage: ClassicalStage, dataset: Dataset, seed: int) -> tuple[Any, Any]:
    """Of training and test inputs, sparse or dense: (N, D) each."""
    if dataset.vocabulary is None:
        return tuple(_pixels(split.inputs) for split in (dataset.train, dataset.test))  # pyright: ignore[reportReturnType]
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    train, test = (texts_of(dataset.vocabulary, as_texts(split.inputs)) for split in (dataset.train, dataset.test))
    weights = TfidfVectorizer(sublinear_tf=True, min_df=2)
    try:
        train, test = weights.fit_transform(train), weights.transform(test)
    except ValueError as error:
        raise ConfigError(f"stage.features={stage.features}: no word is in two training texts") from error
    if stage.features == "tfidf":
        return train, test
    components = min(stage.components, train.shape[1] - 1, train.shape[0] - 1)
    svd = TruncatedSVD(max(components, 1), random_state=seed)
    return normalize(svd.fit_transform(train)), normalize(svd.transform(test))


def _pixels(inputs: Inputs) -> np.ndarray:
    return as_tensor(inputs).flatten(1).float().div(255).numpy()
