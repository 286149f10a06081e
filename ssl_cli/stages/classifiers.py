"""Finished classifiers, read back: the settings, the numbers, and what each answers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ssl_cli.config.schema import Config
from ssl_cli.data.types import Dataset, Inputs
from ssl_cli.errors import ConfigError
from ssl_cli.methods.networks import count_parameters
from ssl_cli.report.arms import COLLAPSED
from ssl_cli.runs.finished import settings_of
from ssl_cli.runs.result import finished_result, read_result
from ssl_cli.stages.classical import fitted
from ssl_cli.stages.networks import classifier_of, plain_of
from ssl_cli.stages.simclr_v2 import named
from ssl_cli.training.device import Machine
from ssl_cli.training.evaluate import outputs

CLASSIFIERS = ("classifier", "regression")  # what a run with one ends in


@dataclass(frozen=True)
class Trained:
    """A finished classifier: its folder, its settings, its numbers."""

    folder: Path
    config: Config
    result: dict[str, Any]

    def features(self, dataset: Dataset, here: Machine) -> Callable[[Inputs], Tensor] | None:
        """What its backbone gives for inputs, float32 (N, D); None for one without a backbone."""
        if self.result["ends_in"] == "regression":
            return None
        backbone = here.place(classifier_of(self.folder, self.config, dataset)).backbone
        seen = plain_of(self.config, dataset)
        return lambda inputs: outputs(backbone, inputs, seen, here)

    def answers(self, dataset: Dataset, here: Machine) -> tuple[Callable[[Inputs], Tensor], int]:
        """What it says of inputs: their predicted classes, int64 (N,); and the parameters of its backbone.

        Images are uint8, or float in 0–1.
        """
        if self.result["ends_in"] == "regression":
            return fitted(self.config, dataset), 0
        network = here.place(classifier_of(self.folder, self.config, dataset))
        seen, scale = plain_of(self.config, dataset), self.config.augment.scale or 1.0

        def answer(inputs: Inputs) -> Tensor:
            scaled = inputs * scale if isinstance(inputs, Tensor) and inputs.is_floating_point() else inputs
            return outputs(network, scaled, seen, here).argmax(1)

        return answer, count_parameters(network.backbone)


def classifiers(folder: Path) -> Iterator[Trained]:
    """The run itself, or every arm of every seed of a comparison, in the order of its table.

    Raises:
        ConfigError: it is neither, or not finished.
    """
    if not (folder / "config.yaml").exists():
        raise ConfigError(f"stage.run={folder}: is no run's folder; it must be that of a finished run or comparison")
    whole = read_result(folder)
    if whole is None or whole.get("ends_in") != "comparison":
        own = settings_of("stage.run", folder, *CLASSIFIERS, "comparison")  # raises where it is not finished
        yield Trained(folder, own, finished_result(folder))
        return
    inside = [path.parent for path in sorted(folder.glob("seed*/*/result.json"))]
    arms: list[Trained] = []
    for path in inside:
        result = finished_result(path)
        if result.get("ends_in") in CLASSIFIERS:
            result = named(result, path.name) if whole["stage"] == "simclr_v2" else result
            arms.append(Trained(path, settings_of("stage.run", path, *CLASSIFIERS), result))
    order = [row["arm"].removesuffix(COLLAPSED) for row in whole["rows"]]
    yield from sorted(arms, key=lambda arm: (order.index(arm.result["arm"]), arm.result["seed"]))
