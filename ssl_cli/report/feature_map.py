"""A map of features: a point for each input, near those with similar features."""

from pathlib import Path

import numpy as np
from torch import Tensor

from ssl_cli.report.figure import figure_of, save_figure, written

COLOURED = 19  # classes with a colour of their own, the most frequent ones; others are grey
COMPONENTS = 50  # of the features that t-SNE sees, as its authors advise


def places_of(features: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """Where each input is: float (N, D) → float (N, 2).

    Args:
        features: of the inputs.
        kind: `pca`, or `tsne`, which fewer than 5 inputs do without.
        seed: of t-SNE.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count, width = features.shape
    if kind == "tsne" and count >= 5 and width >= 2:
        reduced = PCA(min(COMPONENTS, count, width), random_state=seed).fit_transform(features)
        return TSNE(perplexity=min(30.0, (count - 1) / 3), init="pca", random_state=seed).fit_transform(reduced)
    found = np.zeros((count, 2))
    if count > 1:
        components = min(2, count, width)
        found[:, :components] = PCA(components, random_state=seed).fit_transform(features)
    return found


def save_map(places: np.ndarray, predicted: Tensor | None, classes: tuple[str, ...], title: str, path: Path) -> None:
    """Draw the points, in the colours of their predicted classes, int64 (N,), where there are some."""
    figure, axes = figure_of(1, 1, width=7.5, height=6)
    axis = axes[0][0]
    size = 24 if len(places) <= 300 else 8 if len(places) <= 5000 else 2
    if predicted is None:
        axis.scatter(*places.T, s=size, color="#2c6fbb", linewidths=0)
    else:
        _draw_classes(axis, places, predicted, classes, size)
    axis.set(xticks=[], yticks=[], title=title)
    save_figure(figure, path)


def _draw_classes(axis, places: np.ndarray, predicted: Tensor, classes: tuple[str, ...], size: int) -> None:
    from matplotlib import colormaps

    counts = predicted.bincount(minlength=len(classes))
    shown = [number for number in counts.argsort(descending=True).tolist() if counts[number]][:COLOURED]
    colours = colormaps["tab10" if len(shown) <= 10 else "tab20"]
    own = predicted.numpy()
    others = ~np.isin(own, shown)
    if others.any():
        axis.scatter(*places[others].T, s=size, color="#c8c8c8", linewidths=0, label=f"others ({others.sum():,})")
    for position, number in enumerate(sorted(shown)):
        label = f"{written(classes[number])} ({int(counts[number]):,})"
        axis.scatter(*places[own == number].T, s=size, color=colours(position), linewidths=0, label=label)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8, title="predicted class")
