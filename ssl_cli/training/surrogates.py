"""Classes that stand in for labels in pre-training, and the features of inputs by which they are found."""

import csv
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.tokens import Tokens
from ssl_cli.data.types import UNKNOWN, Dataset, Inputs, as_tensor
from ssl_cli.errors import ConfigError
from ssl_cli.methods.base import Method
from ssl_cli.methods.networks import build_for
from ssl_cli.randomness import generator
from ssl_cli.runs.files import write
from ssl_cli.runs.finished import settings_of
from ssl_cli.runs.weights import read_weights
from ssl_cli.training.device import Machine
from ssl_cli.training.evaluate import outputs

PIXELS = "pixels"


def surrogate_classes(
    method: Method, items: Tensor | None, dataset: Dataset, folder: Path, seed: int, here: Machine
) -> Tensor | None:
    """Of every training input the class that the method finds for it; None where the method needs none.

    They are kept in `classes.csv`, so that a resumed run has the same and looks for none.

    Args:
        method: asked for the classes.
        items: int64 (M,), the inputs to pre-train on; None for all.
        dataset: of N training inputs.
        folder: of the run.
        seed: of all that is drawn.
        here: computes features.

    Returns:
        int64 (N,), `UNKNOWN` for those that take no part.
    """
    kept = folder / "classes.csv"
    classes = torch.full((len(dataset.train),), UNKNOWN)
    if kept.exists():
        rows = torch.from_numpy(np.loadtxt(kept, delimiter=",", skiprows=1, dtype=np.int64, ndmin=2))
        classes[rows[:, 0]] = rows[:, 1]
        return classes
    items = torch.arange(len(dataset.train)) if items is None else items

    def features(name: str | Path) -> Tensor:
        return features_by(name, dataset.train.inputs[items], dataset, here)

    found = method.surrogate_classes(len(items), features, generator(seed, "surrogate classes"))
    if found is None:
        return None
    classes[items] = found
    write(kept, _table(classes))
    return classes


def features_by(name: str | Path, inputs: Inputs, dataset: Dataset, here: Machine) -> Tensor:
    """Pixels as they are, or what the backbone of the pre-training in a folder gives: N inputs → float32 (N, D).

    Raises:
        ConfigError: the folder is not that of a finished pre-training, or its backbone does not fit.
    """
    if name == PIXELS:
        if isinstance(inputs, Tokens):
            raise ConfigError(
                f"method.features={PIXELS}: dataset={dataset.name} has texts; name a pre-training's folder"
            )
        return as_tensor(inputs).flatten(1).float()
    theirs = settings_of("method.features", Path(name), "pre-training")
    backbone = build_for(theirs.backbone, dataset)
    try:
        backbone.load_state_dict(read_weights(Path(name), "backbone"))
    except RuntimeError as error:
        raise ConfigError(
            f"method.features={name}: its backbone was trained on other inputs than {dataset.described()}"
        ) from error
    scale = {} if theirs.augment.scale is None else {"scale": theirs.augment.scale}
    plain = build_for(theirs.augment.supervised, dataset, **scale).plain
    return outputs(here.place(backbone), inputs, plain, here)


def _table(classes: Tensor) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["item", "class"])
    rows.writerows((item, classes[item].item()) for item in (classes != UNKNOWN).nonzero()[:, 0].tolist())
    return text.getvalue()
