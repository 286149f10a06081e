"""The settings of `stage=probe`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ssl_cli.config.schema import Config, Count, Network, Stage


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

    def networks(self, config: Config) -> Iterator[tuple[Network, Config, str]]:
        """The method, since the layers of its head are probed too; the linear classifiers fit whatever there is."""
        yield "method", config, "method"

    def network_problems(self, config: Config, method: Any) -> Iterator[str]:
        """Layers that are not there."""
        names = layer_names(method)
        if self.layers != "all" and max(self.layers) > len(names):
            yield (
                f"stage.layers=[{', '.join(map(str, self.layers))}]: {max(self.layers)} is not there; "
                f"backbone={config.backbone.name} and head={config.head.name} have {len(names)} layers ({', '.join(names)})"
            )


def layer_names(method: Any) -> list[str]:
    """The stages of the backbone, the last of them being its features, then the layers of the projection head."""
    stages = [f"backbone {number}" for number in range(1, len(method.backbone.stages) + 1)]
    return stages + [f"head {number}" for number in range(1, len(head_layers(method)) + 1)]


def head_layers(method: Any) -> list[Any]:
    """The layers of the projection head, if there is one."""
    return [] if method.head is None else list(method.head.layers)
