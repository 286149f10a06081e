"""Finished networks that answer without their data: what they need is in their run's folder."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import Config
from ssl_cli.data.types import Dataset, Inputs, Plain
from ssl_cli.errors import ConfigError
from ssl_cli.methods.finished_networks import finished_backbone, finished_classifier
from ssl_cli.methods.supervised import Supervised
from ssl_cli.runs.finished import settings_of
from ssl_cli.runs.result import finished_result, read_result
from ssl_cli.stages.inputs import read_inputs, without_data
from ssl_cli.stages.networks import plain_of
from ssl_cli.training.device import Machine
from ssl_cli.training.evaluate import outputs

NAMED = 12  # arms of a comparison in a message


@dataclass(frozen=True)
class TrainedNetwork:
    """A network of a finished run on a device.

    config: the run's settings; form: what its inputs and classes are, a data set without inputs.
    network: inputs as `plain` gives them → logits or features.
    """

    folder: Path
    config: Config
    form: Dataset
    network: nn.Module
    plain: Plain
    here: Machine

    def __call__(self, inputs: Inputs) -> Tensor:
        """Images, uint8 (N, C, H, W), or N texts → logits or features, float32 (N, D) on the CPU."""
        return outputs(self.network, inputs, self.plain, self.here)


class WithFeatures(nn.Module):
    """A classifier that answers with its features behind its logits."""

    def __init__(self, classifier: Supervised):
        super().__init__()
        self.classifier = classifier
        self.backbone = classifier.backbone

    def forward(self, inputs: Any) -> Tensor:
        """B inputs → float (B, classes + dim)."""
        features = self.backbone(inputs)
        return torch.cat([self.classifier.head(features).float(), features.float()], 1)


def open_classifier(key: str, folder: Path, here_for: Callable[[Config], Machine]) -> TrainedNetwork:
    """The classifier of the finished run that `key`=`folder` names.

    Args:
        key, folder: as typed.
        here_for: the machine to place it on, by the run's settings.

    Raises:
        ConfigError: the run is not finished, ends in no classifier, or its folder is damaged.
    """
    _refuse_comparison(key, folder)
    config, form = _opened(key, folder, "classifier")
    asked = f"{key}={folder}"
    if not form.classes:
        raise ConfigError(f"{asked}: its inputs.json names no classes")
    frozen = getattr(config.stage, "frozen", False)
    network = finished_classifier(asked, folder, config.backbone, config.head, form, frozen)
    here = here_for(config)
    return TrainedNetwork(folder, config, form, here.place(network), plain_of(config, form), here)


def open_with_features(key: str, folder: Path, here_for: Callable[[Config], Machine]) -> TrainedNetwork:
    """The same classifier, which answers with its features behind its logits."""
    whole = open_classifier(key, folder, here_for)
    joint = WithFeatures(whole.network)  # pyright: ignore[reportArgumentType]  # a classifier's network is Supervised
    return replace(whole, network=joint)


def open_backbone(key: str, folder: Path, here_for: Callable[[Config], Machine]) -> TrainedNetwork:
    """The backbone of the finished pre-training or classifier that `key`=`folder` names; arguments as of `open_classifier`.

    Raises:
        ConfigError: the run is not finished, is neither, or its folder is damaged.
    """
    _refuse_comparison(key, folder)
    config, form = _opened(key, folder, "pre-training", "classifier")
    network = finished_backbone(f"{key}={folder}", folder, config.backbone, form)
    here = here_for(config)
    return TrainedNetwork(folder, config, form, here.place(network), plain_of(config, form), here)


def ends_in_classifier(folder: Path) -> bool:
    """Whether a finished run is that of a classifier."""
    return finished_result(folder).get("ends_in") == "classifier"


def _opened(key: str, folder: Path, *ends_in: str) -> tuple[Config, Dataset]:
    config = settings_of(key, folder, *ends_in)
    return config, without_data(key, folder, read_inputs(key, folder), config.dataset.name)


def _refuse_comparison(key: str, folder: Path) -> None:
    """Raises ConfigError where a folder holds several classifiers: by test accuracy none may be chosen, so the person does."""
    if not (folder / "config.yaml").exists() or (read_result(folder) or {}).get("ends_in") != "comparison":
        return
    arms = [
        str(path.parent)
        for path in sorted(folder.glob("seed*/*/result.json"))
        if finished_result(path.parent).get("ends_in") == "classifier"
    ]
    shown = ", ".join(arms[:NAMED]) + (", …" if len(arms) > NAMED else "")
    raise ConfigError(f"{key}={folder}: is a comparison of {len(arms)} classifiers; name one of them: {shown}")
