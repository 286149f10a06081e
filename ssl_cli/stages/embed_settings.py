"""The settings of `stage=embed`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ssl_cli.config.schema import Config, Stage, given_inputs_problems


@dataclass(frozen=True)
class EmbedStage(Stage):
    """The features that a finished network has for files.

    run: its folder.
    inputs: a file, or a folder of files.
    column: of the texts in tables.
    parquet: whether there is a Parquet file too; `auto`: where pyarrow is installed.
    map: how features become places on a map.
    """

    name: Literal["embed"]
    run: Path | None
    inputs: Path | None
    column: str
    parquet: bool | Literal["auto"]
    map: Literal["auto", "pca", "tsne"]

    function: ClassVar[str] = "ssl_cli.stages.embed.embed"

    @property
    def takes(self) -> tuple[str, ...]:
        """All else is the run's."""
        return ("seed", "outputs", "runtime")

    def problems(self, config: Config) -> Iterator[str]:
        """Nothing to embed with, or nothing to embed."""
        yield from given_inputs_problems(self.run, self.inputs)
