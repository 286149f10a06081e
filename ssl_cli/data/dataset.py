"""Loading data sets, and what is known of them before that."""

import json
from dataclasses import fields, replace
from functools import lru_cache
from weakref import WeakValueDictionary

import torch

from ssl_cli.config.build import build, named, plain
from ssl_cli.config.schema import DatasetComponent, Facts, ImageFacts, TextFacts
from ssl_cli.data.stamp import data_stamp
from ssl_cli.data.tokens import Tokens, Vocabulary
from ssl_cli.data.types import UNKNOWN, Dataset, Inputs, Split, problems_of
from ssl_cli.errors import ConfigError

_read: WeakValueDictionary[tuple[str, str], Inputs] = WeakValueDictionary()  # by settings and part


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
    before = data_stamp(target)
    dataset = replace(build(target), name=target.name)
    dataset = replace(dataset, stamp=before if before == data_stamp(target) else None)
    facts = target.arguments.get("facts")
    if isinstance(facts, Facts):
        _compare_with(facts, dataset, target.name)
    _read[settings, "train"], _read[settings, "test"] = dataset.train.inputs, dataset.test.inputs
    return dataset


def where_read(inputs: Inputs) -> tuple[str, str] | None:
    """From which settings, and as which part of the data set, these very inputs were loaded; None for any others."""
    return next((key for key, known in _read.items() if known is inputs), None)


def inputs_read(settings: str, part: str) -> Inputs:
    """The inputs of which another process knows from `where_read` that they can be loaded so."""
    return getattr(_load_once(settings), part).inputs


def contradictions(target: DatasetComponent) -> list[str]:
    """What is wrong with the settings of a data set, as far as what makes it can tell before it does."""
    return problems_of(named(target), target.arguments)


def described(target: DatasetComponent) -> Dataset | None:
    """A data set on the meta device with the size and form in its settings; None if they are incomplete."""
    facts = target.arguments.get("facts")
    if not isinstance(facts, Facts) or facts.inputs is None or facts.test is None or facts.classes is None:
        return None
    if any(value is None for value in _form(facts).values()):
        return None
    count = facts.inputs + (facts.unlabelled or 0)

    def split(size: int) -> Split:
        return Split(_described_inputs(facts, size), torch.empty(size, dtype=torch.int64, device="meta"))

    cases = torch.empty(count, dtype=torch.int64, device="meta") if facts.cases else None
    classes = tuple(map(str, range(facts.classes)))
    return Dataset(split(count), split(facts.test), classes, cases, target.name, _described_vocabulary(facts))


def _form(facts: Facts) -> dict[str, object]:
    """The facts of one kind of inputs that other kinds do not have."""
    common = {field.name for field in fields(Facts)}
    return {key: value for key, value in vars(facts).items() if key not in common}


def _described_inputs(facts: Facts, count: int) -> Inputs:
    if isinstance(facts, ImageFacts):
        return torch.empty(count, *(facts.shape or ()), dtype=torch.uint8, device="meta")
    where = torch.empty(count, dtype=torch.int64, device="meta")
    return Tokens(torch.empty(0, dtype=torch.int32, device="meta"), where, where)


def _described_vocabulary(facts: Facts) -> Vocabulary | None:
    if not isinstance(facts, TextFacts) or facts.vocabulary is None:
        return None
    languages = tuple(map(str, range(facts.languages or 0)))
    return Vocabulary(facts.vocabulary, *range(6), languages=languages)


def facts_of(dataset: Dataset) -> Facts:
    """The facts of a loaded data set."""
    known = dataset.train.labels != UNKNOWN
    common = {
        "inputs": int(known.sum()),
        "unlabelled": int((~known).sum()),
        "test": len(dataset.test),
        "classes": len(dataset.classes),
        "cases": 0 if dataset.cases is None else len(dataset.cases.unique()),
    }
    if dataset.vocabulary is None:
        return ImageFacts(**common, shape=dataset.shape)
    return TextFacts(**common, vocabulary=dataset.vocabulary.size, languages=len(dataset.vocabulary.languages))


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

    At most 4,096 evenly spaced inputs of each split are compared. Texts are compared by their tokens.
    """
    if not isinstance(other.inputs, Tokens) and dataset.shape != tuple(other.inputs.shape[1:]):
        return 0.0
    there = {_content(other.inputs, item) for item in range(len(other))}
    found = [
        _content(split.inputs, item) in there
        for split in (dataset.train, dataset.test)
        for item in torch.linspace(0, len(split) - 1, min(len(split), 4096)).long().tolist()
    ]
    return sum(found) / len(found)


def _content(inputs: Inputs, item: int) -> bytes:
    return (inputs.text(item) if isinstance(inputs, Tokens) else inputs[item]).numpy().tobytes()
