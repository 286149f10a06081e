"""Loading data sets, and what is known of them before that."""

import json
from dataclasses import replace
from functools import lru_cache

import torch

from ssl_cli.config.build import build, named, plain
from ssl_cli.config.schema import DatasetComponent, Facts
from ssl_cli.data.types import UNKNOWN, Dataset, Split, problems_of
from ssl_cli.errors import ConfigError


def load(target: DatasetComponent) -> Dataset:
    """The data set of the settings, cached within the process.

    Raises:
        ConfigError: files are missing, or the data contradict the facts in the settings.
    """
    return _load_once(json.dumps(plain(target), sort_keys=True))


@lru_cache(maxsize=3)
def _load_once(settings: str) -> Dataset:
    from ssl_cli.config.typecheck import anything, typed

    target = typed(json.loads(settings), DatasetComponent, "dataset", [], anything)
    problems = contradictions(target)
    if problems:
        raise ConfigError(*problems)
    dataset = replace(build(target), name=target.name)
    facts = target.arguments.get("facts")
    if isinstance(facts, Facts):
        _compare_with(facts, dataset, target.name)
    return dataset


def contradictions(target: DatasetComponent) -> list[str]:
    """What is wrong with the settings of a data set, as far as what makes it can tell before it does."""
    return problems_of(named(target), target.arguments)


def described(target: DatasetComponent) -> Dataset | None:
    """A data set on the meta device with the size and shape in its settings; None if they are incomplete."""
    facts = target.arguments.get("facts")
    if not isinstance(facts, Facts):
        return None
    inputs, test, names, shape = facts.inputs, facts.test, facts.classes, facts.shape
    if inputs is None or test is None or names is None or shape is None:
        return None
    count = inputs + (facts.unlabelled or 0)

    def split(size: int) -> Split:
        labels = torch.empty(size, dtype=torch.int64, device="meta")
        return Split(torch.empty(size, *shape, dtype=torch.uint8, device="meta"), labels)

    cases = torch.empty(count, dtype=torch.int64, device="meta") if facts.cases else None
    classes = tuple(map(str, range(names)))
    return Dataset(split(count), split(test), classes, cases, target.name)


def facts_of(dataset: Dataset) -> Facts:
    """The facts of a loaded data set."""
    known = dataset.train.labels != UNKNOWN
    return Facts(
        inputs=int(known.sum()),
        unlabelled=int((~known).sum()),
        test=len(dataset.test),
        classes=len(dataset.classes),
        shape=dataset.shape,
        cases=0 if dataset.cases is None else len(dataset.cases.unique()),
    )


def _compare_with(facts: Facts, dataset: Dataset, name: str) -> None:
    found = facts_of(dataset)
    problems = [
        f"dataset.facts.{key}={said}: dataset={name} as read has {value}"
        for key, value in vars(found).items()
        if (said := getattr(facts, key)) is not None and said != value
    ]
    if problems:
        raise ConfigError(*problems)


def labelled(dataset: Dataset, key: str) -> Split:
    """The training inputs that have labels.

    Raises:
        ConfigError: there are none; the message names `key`, the setting of the data set.
    """
    known = dataset.train.labels != UNKNOWN
    if not known.any():
        raise ConfigError(f"{key}: no label of its training inputs is known; take a data set that has labels")
    return dataset.train if known.all() else Split(dataset.train.inputs[known], dataset.train.labels[known])


def overlap(dataset: Dataset, other: Split) -> float:
    """The fraction of a data set's inputs, training and test, that are also in `other`, byte for byte.

    At most 4,096 evenly spaced inputs of each split are compared.
    """
    if dataset.shape != tuple(other.inputs.shape[1:]):
        return 0.0
    there = {image.tobytes() for image in other.inputs.numpy()}
    found = [
        split.inputs[item].numpy().tobytes() in there
        for split in (dataset.train, dataset.test)
        for item in torch.linspace(0, len(split) - 1, min(len(split), 4096)).long().tolist()
    ]
    return sum(found) / len(found)
