"""The networks of finished runs, rebuilt from their settings and weights alone: no data, and no global random numbers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import BackboneComponent, Head
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError
from ssl_cli.methods.networks import build_backbone
from ssl_cli.methods.supervised import Supervised
from ssl_cli.models import heads
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.runs.weights import read_weights

_Module = TypeVar("_Module", bound=nn.Module)


def finished_backbone(asked: str, folder: Path, backbone: BackboneComponent, dataset: Dataset) -> Backbone:
    """The backbone of the finished run in a folder.

    Args:
        asked: the setting that names the folder, for the error message.
        folder: of the run.
        backbone: its settings.
        dataset: the form of its inputs.

    Raises:
        ConfigError: the weights are damaged, or do not fit the settings beside them.
    """
    return _loaded(asked, lambda: build_backbone(backbone, dataset, 0), read_weights(folder, "backbone"))


def finished_classifier(
    asked: str, folder: Path, backbone: BackboneComponent, head: Head, dataset: Dataset, frozen: bool
) -> Supervised:
    """The classifier of the finished run in a folder: inputs → logits.

    Args:
        asked, folder, backbone, dataset: as of `finished_backbone`; the data set says the classes.
        head: the settings of its head.
        frozen: whether its backbone was frozen, so that features are standardised before the classifier.

    Raises:
        ConfigError: the weights are damaged, or do not fit the settings beside them.
    """
    body = finished_backbone(asked, folder, backbone, dataset)
    weights = read_weights(folder, "classifier")

    def make() -> nn.Module:
        projected = None if head.keep == 0 else _projection(head, body.dim, len(dataset.classes), weights)
        made = heads.classifier(head, projected, body.dim, len(dataset.classes))
        return nn.Sequential(heads.Standardise(torch.zeros(2, body.dim)), made) if frozen else made

    return Supervised(body, _loaded(asked, make, weights), label_smoothing=0.0)


def _projection(head: Head, dim: int, classes: int, weights: Mapping[str, Tensor]) -> heads.ProjectionHead:
    """The projection head of pre-training, whose last layer may be as wide as the pretext task had classes."""
    make = heads.projection(head)
    widths = head.projection.arguments.get("widths")
    if not widths:
        return make(inputs=dim)
    last = f"kept.{len(widths) - 1}.0.weight"
    found = next((tensor for name, tensor in weights.items() if name.removeprefix("1.") == last), None)
    if found is None:  # the last layer was not kept
        return make(inputs=dim, classes=classes)
    return make(inputs=dim, classes=found.shape[0])


def _loaded(asked: str, make: Callable[[], _Module], weights: Mapping[str, Tensor]) -> _Module:
    """What `make` makes, with these weights; tried without memory first, since settings may ask for more than there is."""
    with torch.random.fork_rng(devices=[]):
        with torch.device("meta"):
            shapes = {name: tensor.shape for name, tensor in make().state_dict().items()}
        if shapes != {name: tensor.shape for name, tensor in weights.items()}:
            raise ConfigError(f"{asked}: its weights are not those of the network in its config.yaml")
        module = make()
    module.load_state_dict(weights)
    return module.eval()
