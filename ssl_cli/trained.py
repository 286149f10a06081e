"""Networks read back from the folders of finished runs."""

from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file
from torch import nn

from ssl_cli import heads
from ssl_cli.config import check, foreign_targets
from ssl_cli.data.datasets import Dataset
from ssl_cli.errors import ConfigError
from ssl_cli.methods.supervised import Supervised
from ssl_cli.randomness import derived_seed
from ssl_cli.runs import read_result
from ssl_cli.schema import Config
from ssl_cli.stages.pretrain import fresh_backbone, load_backbone, pretraining_method


def fresh_classifier(config: Config, dataset: Dataset, start: Path | None) -> Supervised:
    """Backbone and kept layers from a pre-training, or fresh; the new classifier is the same one in every arm."""
    backbone = fresh_backbone(config, dataset)
    keeps = config.head.keep != 0
    projected = pretraining_method(config, dataset).head if keeps else None
    if start:
        load_backbone(backbone, start, f"checkpoint={config.checkpoint}", config)
        if keeps:
            projected.load_state_dict(load_file(start / "head.safetensors"))
    torch.manual_seed(derived_seed(config.seed, "classifier"))
    head = heads.classifier(config.head, projected, backbone.dim, len(dataset.classes))
    return Supervised(backbone, head, config.schedule.supervised.label_smoothing)


def settings_of(key: str, value: str, stages: tuple[str, ...]) -> Config:
    """The settings of the finished run that `key`=`value` names.

    Raises:
        ConfigError: it is no finished run of one of these stages, or would run foreign code.
    """
    folder = Path(value).expanduser().absolute()
    if not (folder / "config.yaml").exists():
        raise ConfigError(f"{key}={value}: is no run's folder; it must be auto or the folder of a finished run")
    result = read_result(folder)
    if result is None:
        raise ConfigError(f"{key}={value}: is not finished; go on with it by resume={folder}")
    if result["stage"] not in stages:
        raise ConfigError(f"{key}={value}: is a run of stage={result['stage']}; it must be {' or '.join(stages)}")
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    foreign = foreign_targets(settings, ())
    if foreign:
        raise ConfigError(f"{key}={value}: would run code of {foreign[0]}, which is not part of this program")
    try:
        return check(settings)
    except ConfigError as error:
        raise ConfigError(
            *(f"{key}={value}: its settings do not fit this version ({problem})" for problem in error.problems)
        ) from error


def classifier_of(folder: Path, config: Config, dataset: Dataset) -> nn.Module:
    """The trained classifier of a run with these settings: inputs → logits."""
    made = fresh_classifier(config, dataset, None)
    if getattr(config.stage, "frozen", False):
        made.head = nn.Sequential(heads.Standardise(torch.zeros(2, made.backbone.dim)), made.head)
    made.backbone.load_state_dict(load_file(folder / "backbone.safetensors"))
    made.head.load_state_dict(load_file(folder / "classifier.safetensors"))
    return made
