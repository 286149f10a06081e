"""The curves of a training: loss, learning rate and accuracies over its steps."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_cli.report.figure import figure_of, optional, save_figure
from ssl_cli.report.plots import BLUE, GREEN, GREY, ORANGE
from ssl_cli.runs.metrics import columns_of

if TYPE_CHECKING:
    import numpy as np  # which is loaded with matplotlib

Columns = Mapping[str, tuple[Sequence[float], Sequence[float]]]

STRETCHES = 1000  # of a curve


def thinned(steps: Sequence[float], values: Sequence[float]) -> tuple["np.ndarray", "np.ndarray"]:
    """A curve of no more points than a picture can show: the least and the largest value of each stretch, so that peaks stay."""
    import numpy as np

    x, y = np.asarray(steps, float), np.asarray(values, float)
    if len(x) <= 2 * STRETCHES:
        return x, y
    cuts = np.linspace(0, len(x), STRETCHES + 1).astype(int)
    kept = {0, len(x) - 1}
    for first, last in itertools.pairwise(cuts):
        kept |= {int(first + y[first:last].argmin()), int(first + y[first:last].argmax())}
    places = sorted(kept)
    return x[places], y[places]


@optional
def save_curves(folder: Path, path: Path) -> None:
    """Loss, learning rate and accuracies over the steps of a run."""
    columns = columns_of(folder)
    accuracies = {
        "knn_accuracy": ("kNN, training labels", GREEN),
        "accuracy": ("training batches", BLUE),
        "pretext_accuracy": ("pretext task", BLUE),
        "validation_accuracy": ("validation", ORANGE),
        "agreement": ("agreement with the teacher", GREEN),
        "confident_fraction": ("confident pseudo-labels", GREEN),
        "test_accuracy": ("test", GREY),
    }
    drawn = [key for key in accuracies if key in columns]
    extra = ["spread"] if "spread" in columns else []
    figure, axes = figure_of(2 + bool(drawn) + len(extra), 1, width=3.3 * (2 + bool(drawn) + len(extra)), height=2.6)
    panels = iter(axes[0])
    for key, title, colour in (("loss", "loss", BLUE), ("rate", "learning rate", GREY)):
        _curve(next(panels), columns, key, title, colour)
    if extra:
        _curve(axis := next(panels), columns, "spread", "spread of the embeddings", ORANGE)
        axis.set_ylim(bottom=0)
    if drawn:
        axis = next(panels)
        for key in drawn:
            label, colour = accuracies[key]
            _curve(axis, columns, key, "accuracy", colour, label)
        axis.legend(fontsize=8, frameon=False)
    save_figure(figure, path)


def _curve(axis: Any, columns: Columns, key: str, title: str, colour: str, label: str | None = None) -> None:
    steps, values = thinned(*columns.get(key, ((), ())))
    axis.plot(steps, values, color=colour, lw=1.4, label=label, marker="." if len(steps) < 12 else None)
    axis.set(title=title, xlabel="step")
    axis.title.set_fontsize(10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
