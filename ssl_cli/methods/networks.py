"""Networks built from settings, with random weights or with those of a finished run."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ssl_cli.config import signatures
from ssl_cli.config.build import as_typed, build
from ssl_cli.config.schema import BackboneComponent, Component, DatasetComponent, Head, MethodComponent
from ssl_cli.data.dataset import load
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError
from ssl_cli.methods.base import Method
from ssl_cli.methods.first_weights import head_from, load_backbone, load_outputs
from ssl_cli.methods.supervised import Supervised
from ssl_cli.models import heads
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.randomness import derived_seed
from ssl_cli.runs.weights import read_weights


@dataclass(frozen=True)
class NetworkSettings:
    """What determines a network and its initial weights.

    scale: pixels are 0 to this, None for texts; inputs: number of inputs to pre-train on.
    """

    backbone: BackboneComponent
    head: Head
    method: MethodComponent
    scale: float | None
    seed: int
    inputs: int


def build_backbone(backbone: BackboneComponent, dataset: Dataset, seed: int) -> Backbone:
    """The backbone with random weights, the same for pre-training and the baseline.

    Raises:
        ConfigError: it is for other inputs than those of the data set.
    """
    torch.manual_seed(derived_seed(seed, "backbone"))
    return build_for(backbone, dataset)


def build_for(component: Component, dataset: Dataset, **offered: Any) -> Any:
    """A component that gets of what is offered, and of what the data set is, the arguments that it names.

    Raises:
        ConfigError: it needs what inputs of another kind have, or refuses what it gets.
    """
    offered = {**offered, **dataset.form}
    taken = signatures.parameters(component.path)
    kinds = {"shape": "images", "vocabulary": "texts"}
    for name, kind in kinds.items():
        if name in taken and taken[name].required and name not in offered:
            own = "texts" if dataset.vocabulary else "images"
            raise ConfigError(
                f"{as_typed(component)}: is for {kind}, and dataset={dataset.name} has {own}; take one that is for them"
            )
    return build(component, **{name: value for name, value in offered.items() if name in taken})


def build_method(
    settings: NetworkSettings,
    dataset: Dataset,
    start: Path | None = None,
    read: Callable[[DatasetComponent], Dataset] = load,
) -> Method:
    """The method with random weights, which depend on the seed alone, or with those of a finished pre-training.

    The weights are loaded before the method is built, since some methods copy the network into an EMA teacher.

    Args:
        settings: of the network.
        dataset: for the shape of inputs, and their cases.
        start: the folder of a finished pre-training to load weights from; None for random weights.
        read: loads another data set for methods that need one.

    Raises:
        ConfigError: the network does not fit the data, or the method the network; the message is the constructor's.
    """
    backbone = build_backbone(settings.backbone, dataset, settings.seed)
    head = heads.projection(settings.head)
    if start:
        load_backbone(backbone, start, f"init_from={start}", dataset)
        if (start / "head.safetensors").exists():
            head = partial(head_from, read_weights(start, "head"), head)
    torch.manual_seed(derived_seed(settings.seed, "projection"))
    offered = {
        "backbone": backbone,
        "head": head,
        "scale": settings.scale,
        "inputs": settings.inputs,
        "cases": dataset.cases,
        "translations": dataset.cases,
        "read": read,
    }
    method = build_for(settings.method, dataset, **offered)
    if start:
        load_outputs(method, start, f"init_from={start}")
    return method


def build_classifier(
    settings: NetworkSettings,
    dataset: Dataset,
    start: Path | None,
    label_smoothing: float,
    pretrained_rate: float = 1.0,
    read: Callable[[DatasetComponent], Dataset] = load,
    language_model: float = 0.0,
) -> Supervised:
    """Backbone and kept layers from a pre-training, or random; the new classifier is the same in every arm.

    Raises:
        ConfigError: `language_model`, the weight of its loss, is above 0 and the backbone can be none.
    """
    backbone = build_backbone(settings.backbone, dataset, settings.seed)
    projected = None if settings.head.keep == 0 else build_method(settings, dataset, read=read).head
    loaded: list[nn.Module] = []
    if start:
        loaded.append(load_backbone(backbone, start, f"checkpoint={start}", dataset))
        if projected is not None:
            projected.load_state_dict(read_weights(start, "head"))
    torch.manual_seed(derived_seed(settings.seed, "classifier"))
    head = heads.classifier(settings.head, projected, backbone.dim, len(dataset.classes))
    published = [backbone] if getattr(backbone, "is_published", False) else []
    pretrained = [backbone, *head.kept] if start else published
    try:
        return Supervised(backbone, head, label_smoothing, pretrained, pretrained_rate, language_model)
    except ValueError as error:
        raise ConfigError(f"stage.language_model={language_model:g}: {error}") from error


def read_classifier(folder: Path, settings: NetworkSettings, dataset: Dataset, frozen: bool) -> Supervised:
    """The trained classifier of a finished run: inputs → logits.

    Args:
        folder: of the run.
        settings, dataset: those of the run.
        frozen: whether its backbone was frozen, so that features are standardised before the classifier.
    """
    classifier = build_classifier(settings, dataset, None, label_smoothing=0.0)
    if frozen:
        classifier.head = nn.Sequential(heads.Standardise(torch.zeros(2, classifier.backbone.dim)), classifier.head)
    classifier.backbone.load_state_dict(read_weights(folder, "backbone"))
    classifier.head.load_state_dict(read_weights(folder, "classifier"))
    return classifier


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, trainable or not."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_trained(module: nn.Module) -> int:
    """Number of parameters that are trained."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
