"""Labels divided into folds, each of which is tested once by a classifier that did not see it."""

import torch
from torch import Tensor

from ssl_cli.data.images.duplicates import find_alike
from ssl_cli.data.types import Dataset, as_rows
from ssl_cli.errors import ConfigError
from ssl_cli.randomness import derived_seed


def groups_of(dataset: Dataset, items: Tensor) -> Tensor:
    """Which of some training inputs must be in one fold: those of one case, and images that are nearly the same.

    Args:
        dataset: of the inputs.
        items: int64 (N,), indices into its training inputs.

    Returns:
        int64 (N,): numbers from 0 on, equal for inputs that belong together, also by way of others.
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(items)
    pairs = [] if dataset.vocabulary else find_alike(as_rows(dataset.train.inputs)[items].cpu().numpy())
    if dataset.cases is not None:
        first: dict[int, int] = {}
        pairs += [(first.setdefault(case, place), place) for place, case in enumerate(dataset.cases[items].tolist())]
    ones, others = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    joined = coo_array((np.ones(len(ones)), (ones, others)), shape=(count, count))
    return torch.from_numpy(connected_components(joined, directed=False)[1].astype(np.int64))


def folds_of(labels: Tensor, groups: Tensor, folds: int, seed: int) -> Tensor:
    """The fold of each label, int64 (N,) from 0 on: each class in proportion, groups whole, drawn by the seed.

    Args:
        labels: int64 (N,), classes.
        groups: int64 (N,), see `groups_of`.
        folds: how many, at most `most_folds` of them.
        seed: of the draw.
    """
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    drawn = derived_seed(seed, "folds") % 2**32
    alone = len(groups.unique()) == len(groups)
    kind = StratifiedKFold if alone else StratifiedGroupKFold
    parts = kind(folds, shuffle=True, random_state=drawn)
    split = parts.split(np.zeros(len(labels)), labels.numpy(), None if alone else groups.numpy())
    found = torch.empty(len(labels), dtype=torch.int64)
    for number, (_, tested) in enumerate(split):
        found[torch.from_numpy(tested)] = number
    return found


def independent_labels(labels: Tensor, groups: Tensor) -> dict[int, int]:
    """By class, in how many groups it is: as many labels that do not know each other, and at most as many folds."""
    pairs = torch.stack([labels, groups]).unique(dim=1)
    numbers, counts = pairs[0].unique(return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def check_folds(dataset: Dataset, labels: Tensor, groups: Tensor, folds: int) -> None:
    """Raises ConfigError where a class has fewer labels than folds; those of one case or of near duplicates count as one."""
    counts = independent_labels(labels, groups)
    rarest = min(counts, key=lambda number: counts[number])
    if counts[rarest] >= folds:
        return
    own = int((labels == rarest).sum())
    alike = f", in {counts[rarest]:,} cases or groups of near duplicates" if own > counts[rarest] else ""
    allowed = f"use at most {counts[rarest]}" if counts[rarest] > 1 else "use 0"
    raise ConfigError(
        f"stage.folds={folds}: class {dataset.classes[rarest]} has {own:,} of the labels{alike}, and each fold needs one; "
        f"{allowed}, or more labels"
    )
