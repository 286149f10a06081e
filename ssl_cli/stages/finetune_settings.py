"""The settings of `stage=finetune` and `stage=baseline`, which differ in their first weights only."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from ssl_cli.config.schema import Config, Ending, NonNegative, Stage


@dataclass(frozen=True)
class SupervisedStage(Stage):
    """The label budget, from random or from pre-trained weights; `frozen` trains the classifier only.

    language_model: weight of the language model's loss on the labelled texts, beside the classifier's.
    """

    name: Literal["baseline", "finetune"]
    frozen: bool
    language_model: NonNegative = 0.0

    function: ClassVar[str] = "ssl_cli.stages.finetune.finetune"
    ends_in: ClassVar[Ending] = "classifier"

    @property
    def phases(self) -> tuple[str, ...]:
        """Training on labels, of pre-trained weights or not."""
        return ("supervised",) if self.name == "baseline" else ("pretrain", "supervised")

    def problems(self, config: Config) -> Iterator[str]:
        """A language model of which nothing is trained."""
        if self.frozen and self.language_model:
            yield (
                f"stage.language_model={self.language_model:g}: stage.frozen=true trains nothing that a language model learns; "
                "leave one of the two out"
            )

    def arm(self, config: Config) -> str:
        """By its first weights, and by what of them stays."""
        published = config.backbone.arguments.get("weights") is not None
        if self.name == "baseline" and published:
            return f"published weights, {'frozen' if self.frozen else 'fine-tuned'}"
        pretrained = "published weights, pre-trained further" if published else "pre-trained"
        if self.frozen:
            return "random weights, frozen" if self.name == "baseline" else f"{pretrained}, frozen"
        if self.name == "baseline":
            augmented = any(getattr(step, "p", 0) for step in config.augment.supervised.arguments.values())
            return "labels only, with augmentation" if augmented else "labels only"
        layers = len(config.head.projection.arguments.get("widths", ()))
        if config.head.keep == 0:
            return f"{pretrained}, new head"
        if config.head.keep in ("all", layers):
            return f"{pretrained}, same head"
        return f"{pretrained}, {config.head.keep} of {layers} head layers kept"
