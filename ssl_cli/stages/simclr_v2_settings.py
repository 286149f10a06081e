"""The settings of `stage=simclr_v2`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from ssl_cli.config.schema import BackboneComponent, Config, Count, Ending, Network, Positive, Stage


@dataclass(frozen=True)
class SimCLRv2Stage(Stage):
    """SimCLRv2's three steps with a big network, and a small `student`, for `seeds` seeds from `seed` on."""

    name: Literal["simclr_v2"]
    seeds: Count
    student: BackboneComponent
    teacher_input: Literal["view", "image"]
    self_temperature: Positive
    temperature: Positive

    function: ClassVar[str] = "ssl_cli.stages.simclr_v2.simclr_v2"
    ends_in: ClassVar[Ending] = "comparison"

    @property
    def phases(self) -> tuple[str, ...]:
        """All but semi-supervised training."""
        return ("pretrain", "supervised", "distill")

    def networks(self, config: Config) -> Iterator[tuple[Network, Config, str]]:
        """The big network, and the student."""
        yield from super().networks(config)
        yield "classifier", replace(config, backbone=self.student, head=replace(config.head, keep=0)), "method"
