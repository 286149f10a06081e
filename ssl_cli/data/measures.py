"""How well predicted classes agree with the labels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How often class i (row) was taken for class j (column): int64 (N,), (N,) → (C, C)."""
    return torch.bincount(labels * classes + predicted, minlength=classes * classes).view(classes, classes)


def balanced_accuracy(table: Tensor) -> float:
    """The mean over classes of the share of each that is found; classes without an input do not count. (C, C) → number."""
    given = table.sum(1)
    return float((table.diagonal()[given > 0] / given[given > 0]).mean())


def macro_f1(table: Tensor) -> float:
    """The mean over classes of F1, the harmonic mean of precision and recall; 0 where a class is never found.

    Classes that neither are there nor are predicted do not count. A confusion matrix (C, C) → number.
    """
    both = table.sum(0) + table.sum(1)
    return float((2 * table.diagonal()[both > 0] / both[both > 0]).mean())


def per_class(table: Tensor, labels: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Each class by itself: `class`, `labels` seen of it, test `inputs`, `accuracy` (None without an input), most `taken_for`.

    Args:
        table: the confusion matrix of the test, (C, C).
        labels: those that were seen, int64 (N,).
        classes: their names.
    """
    seen = torch.bincount(labels, minlength=len(classes)).tolist()
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(classes):
        given, right = int(table[number].sum()), int(table[number, number])
        others = table[number].clone()
        others[number] = 0
        rows.append(
            {
                "class": name,
                "labels": seen[number],
                "inputs": given,
                "accuracy": round(right / given, 6) if given else None,
                "taken_for": classes[int(others.argmax())] if right < given else None,
            }
        )
    return rows
