"""The settings of `stage=export`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ssl_cli.config.schema import Config, Stage


@dataclass(frozen=True)
class ExportStage(Stage):
    """A finished run's network in the format of another library.

    run: its folder.
    format: `auto` is huggingface for texts and safetensors for images.
    heads: whether the output layers of a language model come along, where the run has some.
    """

    name: Literal["export"]
    run: Path | None
    format: Literal["auto", "huggingface", "safetensors", "torch_export", "onnx"]
    heads: bool

    function: ClassVar[str] = "ssl_cli.stages.export.export"

    @property
    def takes(self) -> tuple[str, ...]:
        """All else is the run's."""
        return ("outputs",)

    def problems(self, config: Config) -> Iterator[str]:
        """Nothing to export."""
        if self.run is None:
            yield "stage.run=null: must be the folder of a finished run, such as outputs/pretrain/…"
