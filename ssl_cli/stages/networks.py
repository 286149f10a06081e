"""Networks by the settings of a run: where `Config` ends and values begin."""

from pathlib import Path
from typing import Any

from ssl_cli.config.schema import Config
from ssl_cli.data.budget import unlabelled_items
from ssl_cli.data.types import Dataset, Plain
from ssl_cli.methods.base import Method
from ssl_cli.methods.networks import (
    NetworkSettings,
    build_backbone,
    build_classifier,
    build_for,
    build_method,
    load_backbone,
    read_classifier,
)
from ssl_cli.methods.supervised import Supervised
from ssl_cli.methods.trained_part import train_part
from ssl_cli.models.backbones.base import Backbone


def network_settings(config: Config, dataset: Dataset) -> NetworkSettings:
    """What of a run's settings decides its network and its first weights."""
    items = unlabelled_items(dataset, config.budget, config.seed)
    count = len(dataset.train) if items is None else len(items)
    return NetworkSettings(config.backbone, config.head, config.method, config.augment.scale, config.seed, inputs=count)


def views_of(config: Config, dataset: Dataset, part: str = "supervised") -> Any:
    """The views of `augment.PART`, pretrain or supervised; `plain` of either is what evaluation sees, whole images.

    Raises:
        ConfigError: they are for other inputs than those of the data set.
    """
    offered = {} if config.augment.scale is None else {"scale": config.augment.scale}
    return build_for(getattr(config.augment, part), dataset, **offered)


def plain_of(config: Config, dataset: Dataset) -> Plain:
    """Inputs as evaluation sees them."""
    return views_of(config, dataset).plain


def fresh_backbone(config: Config, dataset: Dataset) -> Backbone:
    """The backbone with its first weights."""
    return build_backbone(config.backbone, dataset, config.seed)


def pretrained_backbone(config: Config, dataset: Dataset, start: Path) -> Backbone:
    """The backbone with the weights of the pre-training in the folder `start`.

    Raises:
        ConfigError: they are damaged, or do not fit.
    """
    backbone = fresh_backbone(config, dataset)
    load_backbone(backbone, start, f"checkpoint={start}", dataset)
    return backbone


def pretraining_method(config: Config, dataset: Dataset, start: Path | None = None) -> Method:
    """The pre-training method with its first weights, or with those of the pre-training in the folder `start`."""
    return build_method(network_settings(config, dataset), dataset, start)


def fresh_classifier(config: Config, dataset: Dataset, start: Path | None) -> Supervised:
    """The classifier of fine-tuning, its backbone from the pre-training in the folder `start`, or fresh.

    What the stage does not train of it is frozen, and what it trains beside it is there.

    Raises:
        ConfigError: weights are damaged or do not fit, or the backbone has no such part as the stage trains.
    """
    settings = network_settings(config, dataset)
    phase = config.schedule.supervised
    classifier = build_classifier(
        settings, dataset, start, phase.label_smoothing, phase.pretrained_rate, language_model=language_model_of(config)
    )
    train_part(classifier, config.stage.trained_part, config.backbone.name, config.seed)
    return classifier


def language_model_of(config: Config) -> float:
    """The weight of the language model's loss beside the classifier's, in stages that have one."""
    return getattr(config.stage, "language_model", 0.0)


def classifier_of(folder: Path, config: Config, dataset: Dataset) -> Supervised:
    """The trained classifier in the folder of a finished run with these settings."""
    frozen = getattr(config.stage, "frozen", False)
    return read_classifier(folder, network_settings(config, dataset), dataset, frozen)
