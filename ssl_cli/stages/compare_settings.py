"""The settings of `stage=compare`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from ssl_cli.config.consistency import projects
from ssl_cli.config.schema import Config, Count, Ending, Network, NonNegative, Stage


@dataclass(frozen=True)
class CompareStage(Stage):
    """All arms, for `seeds` seeds from `seed` on.

    language_model: weight of the language model's loss in those whose backbone is trained on labels.
    """

    name: Literal["compare"]
    seeds: Count
    language_model: NonNegative = 0.0

    function: ClassVar[str] = "ssl_cli.stages.compare.compare"
    ends_in: ClassVar[Ending] = "comparison"

    @property
    def phases(self) -> tuple[str, ...]:
        """Pre-training, and training on labels."""
        return ("pretrain", "supervised")

    def networks(self, config: Config) -> Iterator[tuple[Network, Config, str]]:
        """The new head, the same head, and the one that `head.keep` asks for."""
        yield from super().networks(config)
        for keep in (0, "all") if projects(config) else (0,):
            yield "classifier", replace(config, head=replace(config.head, keep=keep)), "method"
