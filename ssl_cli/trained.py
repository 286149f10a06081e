"""Networks read back from the folders of finished runs."""

from pathlib import Path

import torch
from torch import nn

from ssl_cli import heads
from ssl_cli.data.datasets import Dataset
from ssl_cli.methods.supervised import Supervised
from ssl_cli.randomness import derived_seed
from ssl_cli.schema import Config
from ssl_cli.stages.pretrain import fresh_backbone, load_backbone, pretraining_method
from ssl_cli.weights import read_weights


def fresh_classifier(config: Config, dataset: Dataset, start: Path | None) -> Supervised:
    """Backbone and kept layers from a pre-training, or fresh; the new classifier is the same one in every arm."""
    backbone = fresh_backbone(config, dataset)
    keeps = config.head.keep != 0
    projected = pretraining_method(config, dataset).head if keeps else None
    if start:
        load_backbone(backbone, start, f"checkpoint={config.checkpoint}", config)
        if keeps:
            projected.load_state_dict(read_weights(start, "head"))
    torch.manual_seed(derived_seed(config.seed, "classifier"))
    head = heads.classifier(config.head, projected, backbone.dim, len(dataset.classes))
    return Supervised(backbone, head, config.schedule.supervised.label_smoothing)


def classifier_of(folder: Path, config: Config, dataset: Dataset) -> nn.Module:
    """The trained classifier of a run with these settings: inputs → logits."""
    made = fresh_classifier(config, dataset, None)
    if getattr(config.stage, "frozen", False):
        made.head = nn.Sequential(heads.Standardise(torch.zeros(2, made.backbone.dim)), made.head)
    made.backbone.load_state_dict(read_weights(folder, "backbone"))
    made.head.load_state_dict(read_weights(folder, "classifier"))
    return made
