"""From Python: finished networks on a person's own inputs, and stages as the command carries them out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_cli.cli.carry_out import carry_out
from ssl_cli.config import trust
from ssl_cli.config.compose import folder_of, precheck
from ssl_cli.config.groups import groups
from ssl_cli.errors import ConfigError
from ssl_cli.runs.result import finished_result
from ssl_cli.stages.automatic import settings_for
from ssl_cli.stages.calibration import Calibration, read_calibration
from ssl_cli.stages.fit import check_fit
from ssl_cli.stages.python_inputs import Given, as_inputs
from ssl_cli.stages.trained import TrainedNetwork, open_backbone, open_classifier
from ssl_cli.training.calibration import calibrated
from ssl_cli.training.device import borrowed

log = logging.getLogger("ssl_cli")


@dataclass(frozen=True)
class Predictions:
    """What a classifier says of N inputs.

    classes: their names; probabilities: float64 (N, classes); labels: the names of the most probable classes.
    calibrated: whether the run held out labels by which the probabilities were calibrated.
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray
    labels: list[str]
    calibrated: bool


class LoadedClassifier:
    """A finished classifier. Call it with inputs; see `load_classifier`."""

    def __init__(self, trained: TrainedNetwork, calibration: Calibration | None):
        self._trained = trained
        self._calibration = calibration
        self.classes = trained.form.classes

    def __call__(self, inputs: Given | Sequence[Given]) -> Predictions:
        """Classify one input or several.

        Raises:
            ValueError: an input is of another kind than the network takes, or a file has no image.
        """
        logits = _answers(self._trained, inputs, len(self.classes))
        temperature = self._calibration.temperature if self._calibration else 1.0
        probabilities = calibrated(logits, temperature)
        labels = [self.classes[number] for number in probabilities.argmax(1).tolist()]
        return Predictions(self.classes, probabilities.numpy(), labels, self._calibration is not None)


class LoadedBackbone:
    """The backbone of a finished run. Call it with inputs; see `load_backbone`."""

    def __init__(self, trained: TrainedNetwork):
        self._trained = trained
        self.dim: int = trained.network.dim  # pyright: ignore[reportAttributeAccessIssue]  # every backbone has it

    def __call__(self, inputs: Given | Sequence[Given]) -> np.ndarray:
        """The features of one input or several: float32 (N, dim).

        Raises:
            ValueError: an input is of another kind than the network takes, or a file has no image.
        """
        return _answers(self._trained, inputs, self.dim).numpy()


def load_classifier(run: str | Path, device: str = "auto", trusted: str = "") -> LoadedClassifier:
    """The classifier of a finished run, which needs nothing but the run's folder.

    Args:
        run: its folder.
        device: `auto`, `cpu`, `cuda`, …
        trusted: packages of your own that the run's settings may name, as of the command's `trust=`, with commas between them.

    Returns:
        a function of images (paths, Pillow's images, uint8 arrays (H, W, C)) or texts (strings), one or a list of them.

    Raises:
        ConfigError: the run is not finished, ends in no classifier, or its folder is damaged.
    """
    folder = _trusted_folder(run, trusted)
    trained = open_classifier("run", folder, lambda _: borrowed(device))
    return LoadedClassifier(trained, read_calibration("run", folder))


def load_backbone(run: str | Path, device: str = "auto", trusted: str = "") -> LoadedBackbone:
    """The backbone of a finished pre-training or classifier: a function of inputs that gives their features.

    Args:
        run, device, trusted: as of `load_classifier`.

    Raises:
        ConfigError: the run is not finished, is neither, or its folder is damaged.
    """
    return LoadedBackbone(open_backbone("run", _trusted_folder(run, trusted), lambda _: borrowed(device)))


def run(*words: str) -> dict[str, Any]:
    """Carry out what the command would for words such as `"compare", "dataset=letters", "seed=1"`, in a folder where it would.

    Args:
        words: a stage and overrides; no options, and no sweep.

    Returns:
        what stands in `result.json`.

    Raises:
        ConfigError: with a sentence for each thing that is wrong.
        TrainingError: a training cannot go on.
    """
    options = [word for word in words if word.startswith("-") or word.startswith("resume=")]
    if options:
        raise ConfigError(f"{options[0]}: run() takes a stage and overrides; the command ssl-cli takes this")
    stages = groups(None)["stage"].choices
    overrides = [f"stage={word}" if word in stages else word for word in trust.take(words)]
    (config,) = precheck(overrides, multirun=False)
    trust.trust_components_of(config)
    check_fit(config)
    config = settings_for(*overrides)
    _, folder = folder_of("run", overrides)
    before = log.level
    log.setLevel(logging.INFO)  # run.log has what is said, whatever the caller's own logging shows
    try:
        carry_out(config, folder, command=words)
    finally:
        log.setLevel(before)
    return finished_result(folder)


def _trusted_folder(run: str | Path, trusted: str) -> Path:
    if trusted:
        trust.take([f"trust={trusted}"])
    return Path(run).expanduser().absolute()


def _answers(trained: TrainedNetwork, inputs: Given | Sequence[Given], width: int) -> torch.Tensor:
    found = [trained(part) for part in as_inputs(inputs, trained)]
    return torch.cat(found) if found else torch.empty(0, width)
