"""What pre-training did to the features: a map of test inputs before and after it, side by side."""

from pathlib import Path

import torch

from ssl_cli.config.schema import Config
from ssl_cli.data.budget import Chosen, drawn
from ssl_cli.data.types import Dataset
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.report.feature_map import places_of, save_maps
from ssl_cli.report.figure import optional
from ssl_cli.stages.networks import fresh_backbone, plain_of, pretrained_backbone
from ssl_cli.training.device import Machine
from ssl_cli.training.evaluate import NEIGHBOURS, knn_accuracy, outputs

SHOWN = 1000  # test inputs
BANK = 5000  # labels that vote

NAME = "feature_map.png"


@optional
def save_feature_maps(
    config: Config, folder: Path, dataset: Dataset, chosen: Chosen, start: Path, here: Machine
) -> None:
    """Draw the same test inputs by features without and with a pre-training, in the colours of their classes.

    Nothing is drawn without test inputs. The kNN accuracy in each title is of these inputs, by the labels of the budget.

    Args:
        config: of the run.
        folder: where `feature_map.png` is written.
        dataset, chosen: the data and the labels that vote.
        start: the folder of the pre-training.
        here: the machine.
    """
    if not len(dataset.test):
        return
    shown, bank = (
        drawn(items, most, config.seed)
        for items, most in ((torch.arange(len(dataset.test)), SHOWN), (chosen.all, BANK))
    )
    plain, labels = plain_of(config, dataset), dataset.test.labels[shown]
    fresh = fresh_backbone(config, dataset)
    word = "published weights" if getattr(fresh, "is_published", False) else "random weights"
    panels = []

    def measured(title: str, backbone: Backbone) -> None:
        network = here.place(backbone)
        seen = outputs(network, dataset.train.inputs[bank], plain, here)
        asked = outputs(network, dataset.test.inputs[shown], plain, here)
        share = knn_accuracy(seen, dataset.train.labels[bank], asked, labels, NEIGHBOURS)
        panels.append((f"{title}: kNN accuracy {100 * share:.1f} %", places_of(asked.numpy(), "tsne", config.seed)))

    measured(f"Before pre-training ({word})", fresh)
    measured("After pre-training", pretrained_backbone(config, dataset, start))
    votes = f"t-SNE of the features of {len(shown):,} test inputs; kNN by {len(bank):,} labels"
    save_maps(panels, labels, dataset.classes, votes, folder / NAME)
