"""The settings of `stage=predict`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from ssl_cli.config.schema import Config, Stage, given_inputs_problems


@dataclass(frozen=True)
class PredictStage(Stage):
    """What a finished classifier says of files.

    run: its folder.
    inputs: a file, or a folder of files.
    column: of the texts in tables.
    all_classes: whether predictions have the probability of every class.
    confidence: of the prediction sets by which inputs are called unsure.
    """

    name: Literal["predict"]
    run: Path | None
    inputs: Path | None
    column: str
    all_classes: bool
    confidence: Annotated[float, "(0, 1)"]

    function: ClassVar[str] = "ssl_cli.stages.predict.predict"

    @property
    def takes(self) -> tuple[str, ...]:
        """All else is the run's."""
        return ("seed", "outputs", "runtime")

    def problems(self, config: Config) -> Iterator[str]:
        """Nothing to predict with, or nothing to predict."""
        yield from given_inputs_problems(self.run, self.inputs)
