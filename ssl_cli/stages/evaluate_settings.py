"""The settings of `stage=evaluate`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from ssl_cli.config.schema import Config, DatasetComponent, Positive, Stage


@dataclass(frozen=True)
class Corruptions:
    """Strengths of each corruption, as defined in `ssl_cli.augment.corruptions`."""

    noise: list[Positive]
    blur: list[Positive]
    contrast: list[Annotated[float, "(0, 1]"]]
    rotation: list[Annotated[float, "(0, 180]"]]
    inversion: list[Annotated[float, "(0, 1]"]]


@dataclass(frozen=True)
class EvaluateStage(Stage):
    """Finished classifiers on corrupted test inputs.

    run: the folder of one, or of a comparison.
    other: another data set to test them on.
    """

    name: Literal["evaluate"]
    run: Path | None
    other: DatasetComponent | None
    corruptions: Corruptions

    function: ClassVar[str] = "ssl_cli.stages.evaluate.evaluate"

    def problems(self, config: Config) -> Iterator[str]:
        """Nothing to evaluate, or nothing to evaluate it on."""
        if self.run is None:
            yield "stage.run=null: must be the folder of a finished run or comparison, such as outputs/compare/…"
        if not any(vars(self.corruptions).values()):
            yield "stage.corruptions: all lists are empty; give at least one of them a strength"
