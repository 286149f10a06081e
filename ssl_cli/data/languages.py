"""Texts in several languages: labels of some of them, and accuracy in each."""

import logging
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ssl_cli.data.measures import confusion, macro_f1
from ssl_cli.data.types import UNKNOWN, Dataset, Split, as_texts
from ssl_cli.errors import ConfigError

log = logging.getLogger("ssl_cli")


def labelled_in(dataset: Dataset, languages: list[str] | None) -> Dataset:
    """The same texts with the labels of some languages alone: training texts in others are unlabelled.

    A class that has no label left is none, and its test texts are left out.

    Args:
        dataset: texts.
        languages: names; None for all.

    Raises:
        ConfigError: there is no such language, or no class left.
    """
    if languages is None:
        return dataset
    known = dataset.vocabulary.languages if dataset.vocabulary else ()
    asked = f"dataset.labelled_languages=[{','.join(languages)}]"
    if not known:
        raise ConfigError(f"{asked}: nothing says in which of several languages the texts are; must be null")
    if not languages or set(languages) - set(known):
        raise ConfigError(f"{asked}: must name some of the languages of the texts, which are {', '.join(known)}")
    train, test = dataset.train, dataset.test
    used = torch.tensor([name in languages for name in known])[_languages(train).long()]
    labels = torch.where(used, train.labels, UNKNOWN)
    there = labels[labels != UNKNOWN].unique()
    if len(there) < 2:
        raise ConfigError(f"{asked}: leaves {len(there)} classes with a label; there must be at least 2")
    moved = torch.full((len(dataset.classes) + 1,), UNKNOWN)  # the last is for what has no label
    moved[there] = torch.arange(len(there))
    tested = (moved[test.labels] != UNKNOWN).nonzero()[:, 0]
    if len(there) < len(dataset.classes):
        log.info(
            "Note: %s: %s of %s classes have no label there; %s of %s test texts, which are of these, are left out.",
            asked, len(dataset.classes) - len(there), len(dataset.classes), f"{len(test) - len(tested):,}", f"{len(test):,}",
        )  # fmt: skip
    return replace(
        dataset,
        train=Split(train.inputs, moved[labels]),
        test=Split(test.inputs[tested], moved[test.labels[tested]]),
        classes=tuple(dataset.classes[number] for number in there.tolist()),
    )


def label_counts(dataset: Dataset, items: Tensor) -> dict[str, int]:
    """How many of some training texts, whose labels are used, are in each language, by name; empty where there is one."""
    names = dataset.vocabulary.languages if dataset.vocabulary else ()
    if not names:
        return {}
    counts = torch.bincount(_languages(dataset.train)[items], minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def by_language(
    predicted: Tensor, labels: Tensor, spoken: Tensor, names: tuple[str, ...], taught: dict[str, int]
) -> dict[str, dict[str, Any]]:
    """How well the texts in each language are answered.

    Args:
        predicted, labels: int64 (N,), classes.
        spoken: uint8 (N,), languages.
        names: of the languages.
        taught: how many labels training had in each; see `label_counts`.

    Returns:
        by name: `inputs`, how many texts; `labels`, of training, None where they are not known; `accuracy`; `macro_f1`.
    """
    classes = int(torch.cat([predicted, labels]).max()) + 1
    found: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names):
        own = spoken == number
        if own.any():
            table = confusion(predicted[own], labels[own], classes)
            found[name] = {
                "inputs": int(own.sum()),
                "labels": taught.get(name),
                "accuracy": round(float(table.diagonal().sum() / table.sum()), 6),
                "macro_f1": round(macro_f1(table), 6),
            }
    return found


def test_by_language(dataset: Dataset, predicted: Tensor, items: Tensor) -> dict[str, dict[str, Any]] | None:
    """`by_language` of the test of a data set; None where nothing says which of its texts is in which.

    Args:
        dataset: texts or images.
        predicted: int64 (N,), classes of the test inputs.
        items: the training inputs whose labels were used.
    """
    if dataset.vocabulary is None or not dataset.vocabulary.languages:
        return None
    taught = label_counts(dataset, items)
    return by_language(predicted, dataset.test.labels, _languages(dataset.test), dataset.vocabulary.languages, taught)


def _languages(split: Split) -> Tensor:
    spoken = as_texts(split.inputs).languages
    if spoken is None:
        raise TypeError("nothing says in which language these texts are")
    return spoken
