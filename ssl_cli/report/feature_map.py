"""A map of features: a point for each input, near those with similar features."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ssl_cli.report.figure import figure_of, optional, save_figure, written

COLOURED = 19  # classes with a colour of their own, the most frequent ones; others are grey
COMPONENTS = 50  # of the features that t-SNE sees, as its authors advise
ALIKE = 1e-6  # spread of features in proportion to them, below which all are the same but for rounding


def places_of(features: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """Where each input is: float (N, D) → float (N, 2); one place where all features are the same.

    Args:
        features: of the inputs.
        kind: `pca`, or `tsne`, which fewer than 5 inputs do without.
        seed: of t-SNE.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count, width = features.shape
    # Where pre-training collapsed, t-SNE would divide by 0, and what is no number ends the process in its native code.
    if np.ptp(features, axis=0).max(initial=0) <= ALIKE * np.abs(features).max(initial=0):
        return np.zeros((count, 2))
    if kind == "tsne" and count >= 5 and width >= 2:
        reduced = PCA(min(COMPONENTS, count, width), random_state=seed).fit_transform(features)
        return TSNE(perplexity=min(30.0, (count - 1) / 3), init="pca", random_state=seed).fit_transform(reduced)
    found = np.zeros((count, 2))
    if count > 1:
        components = min(2, count, width)
        found[:, :components] = PCA(components, random_state=seed).fit_transform(features)
    return found


@optional
def save_map(
    features: np.ndarray,
    kind: str,
    seed: int,
    predicted: Tensor | None,
    classes: tuple[str, ...],
    title: str,
    path: Path,
) -> None:
    """Draw a point for each input, in the colours of their predicted classes, int64 (N,), where there are some.

    Args:
        features, kind, seed: as of `places_of`.
        predicted: index of each input's class among `classes`, or None.
        classes: their names.
        title: above the points.
        path: of the PNG.
    """
    places = places_of(features, kind, seed)
    figure, axes = figure_of(1, 1, width=7.5, height=6)
    axis = axes[0][0]
    if predicted is None:
        axis.scatter(*places.T, s=_size(len(places)), color="#2c6fbb", linewidths=0)
    else:
        _draw_classes(axis, places, predicted, classes)
        _explain(axis, "predicted class")
    axis.set(xticks=[], yticks=[], title=title)
    save_figure(figure, path)


@optional
def save_maps(
    panels: Sequence[tuple[str, np.ndarray]], labels: Tensor, classes: tuple[str, ...], below: str, path: Path
) -> None:
    """Draw several maps of the same inputs side by side, in the colours of their true classes, with one legend.

    Args:
        panels: the title of each, and where each input is, float (N, 2).
        labels: int64 (N,), true classes.
        classes: their names.
        below: what is said below all of them.
        path: of the PNG.
    """
    figure, axes = figure_of(len(panels), 1, width=5.2 * len(panels) + 1.6, height=5.4)
    for axis, (title, places) in zip(axes[0], panels, strict=True):
        _draw_classes(axis, places, labels, classes)
        axis.set(xticks=[], yticks=[])
        axis.set_title(title, fontsize=11)
    _explain(axes[0][-1], "true class")
    figure.supxlabel(below, fontsize=9, color="#5a6473")
    save_figure(figure, path)


def _size(count: int) -> int:
    """Of points, in points²: so large that colours can be told apart, so small that they do not hide each other."""
    return 24 if count <= 300 else 12 if count <= 1000 else 8 if count <= 5000 else 2


def _draw_classes(axis: Any, places: np.ndarray, own: Tensor, classes: tuple[str, ...]) -> None:
    from matplotlib import colormaps

    counts = own.bincount(minlength=len(classes))
    shown = [number for number in counts.argsort(descending=True).tolist() if counts[number]][:COLOURED]
    colours, size = colormaps["tab10" if len(shown) <= 10 else "tab20"], _size(len(places))
    numbers = own.numpy()
    others = ~np.isin(numbers, shown)
    if others.any():
        axis.scatter(*places[others].T, s=size, color="#c8c8c8", linewidths=0, label=f"others ({others.sum():,})")
    for position, number in enumerate(sorted(shown)):
        label = f"{written(classes[number])} ({int(counts[number]):,})"
        axis.scatter(*places[numbers == number].T, s=size, color=colours(position), linewidths=0, label=label)


def _explain(axis: Any, title: str) -> None:
    """A legend at the right, with dots that can be seen."""
    legend = axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8, title=title)
    for handle in legend.legend_handles:
        handle.set_sizes([30])
