"""The settings of `stage=compare`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from ssl_cli.config.consistency import projects
from ssl_cli.config.schema import Config, Count, Ending, Network, NonNegative, Positive, Stage
from ssl_cli.stages.finetune_settings import SupervisedStage


@dataclass(frozen=True)
class CompareStage(Stage):
    """All arms, for `seeds` seeds from `seed` on.

    language_model: weight of the language model's loss in those whose backbone is trained on labels.
    layers: further arms, in which the last layers of the backbone alone are trained; null: none.
    rank, alpha: further arms with LoRA; see `SupervisedStage`.
    """

    name: Literal["compare"]
    seeds: Count
    language_model: NonNegative = 0.0
    layers: Count | None = None
    rank: Count | None = None
    alpha: Positive | None = None

    function: ClassVar[str] = "ssl_cli.stages.compare.compare"
    ends_in: ClassVar[Ending] = "comparison"

    @property
    def phases(self) -> tuple[str, ...]:
        """Pre-training, and training on labels."""
        return ("pretrain", "supervised")

    def problems(self, config: Config) -> Iterator[str]:
        """A number of an arm that there is not."""
        if self.alpha is not None and self.rank is None:
            yield f"stage.alpha={self.alpha:g}: is for an arm with LoRA, and stage.rank=null asks for none; give a rank too"

    def parts(self) -> Iterator[tuple[str, SupervisedStage]]:
        """Trainings of a part of the backbone, by the name of its arm's folder."""
        tuned = SupervisedStage("finetune", language_model=self.language_model)
        if self.layers is not None:
            yield "last-layers", replace(tuned, train="last", layers=self.layers)
        if self.rank is not None:
            yield "lora", replace(tuned, train="lora", rank=self.rank, alpha=self.alpha)

    def networks(self, config: Config) -> Iterator[tuple[Network, Config, str]]:
        """The new head, the same head, the one that `head.keep` asks for, and backbones that are trained in part."""
        yield from super().networks(config)
        for keep in (0, "all") if projects(config) else (0,):
            yield "classifier", replace(config, head=replace(config.head, keep=keep)), "method"
        for _, stage in self.parts():
            yield "classifier", replace(config, stage=stage, head=replace(config.head, keep=0)), "method"
