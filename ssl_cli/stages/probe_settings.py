"""The settings of `stage=probe`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from ssl_cli.config.schema import Config, Count, Stage


@dataclass(frozen=True)
class ProbeStage(Stage):
    """A linear classifier and nearest neighbours on the features of layers: `all`, or their numbers from 1 on."""

    name: Literal["probe"]
    layers: list[Count] | Literal["all"]
    neighbours: Count

    function: ClassVar[str] = "ssl_cli.stages.probe.probe"

    @property
    def phases(self) -> tuple[str, ...]:
        """A linear classifier on frozen features of a pre-training."""
        return ("pretrain", "supervised")

    def problems(self, config: Config) -> Iterator[str]:
        """No layer at all."""
        if self.layers == []:
            yield "stage.layers=[]: must be all, or name at least one layer, by its number from 1 on"
