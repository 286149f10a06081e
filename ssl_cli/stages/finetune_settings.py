"""The settings of `stage=finetune` and `stage=baseline`, which differ in their first weights only."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from ssl_cli.config.schema import Config, Ending, Facts, NonNegative, NonNegativeInt, Stage


@dataclass(frozen=True)
class SupervisedStage(Stage):
    """The label budget, from random or from pre-trained weights; `frozen` trains the classifier only.

    language_model: weight of the language model's loss on the labelled texts, beside the classifier's.
    folds: parts of the budget, each tested by a classifier that was trained on the others; 0: none.
    fold: the one part, from 0 on, that this run leaves out and tests instead of the test inputs; null: none.
    """

    name: Literal["baseline", "finetune"]
    frozen: bool
    language_model: NonNegative = 0.0
    folds: NonNegativeInt = 0
    fold: NonNegativeInt | None = None

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
        if self.folds == 1:
            yield "stage.folds=1: must be 0, for none, or at least 2, since each fold is tested by what the others taught"
        if self.fold is not None and not self.fold < self.folds:
            there = f"must be in [0, {self.folds - 1}]" if self.folds > 1 else "needs stage.folds of at least 2"
            yield f"stage.fold={self.fold}: {there}, of which it is one, or null"
        if self.folds and config.schedule.supervised.select == "best_test":
            yield (
                f"stage.folds={self.folds}: schedule.supervised.select=best_test chooses weights on what is tested, so that no "
                "fold would be unseen; use last or best_validation"
            )

    @property
    def needs_test_inputs(self) -> bool:
        """Not where folds of the labels are tested."""
        return not self.folds

    def data_problems(self, config: Config, facts: Facts) -> Iterator[str]:
        """Too few labels of each class for the folds."""
        yield from super().data_problems(config, facts)
        labels, classes = config.budget.labels, facts.classes
        if config.budget.kind == "balanced" and labels and classes and classes <= labels < self.folds * classes:
            most = labels // classes
            yield (
                f"stage.folds={self.folds}: budget.labels={labels} gives {most} labels for each of {classes} classes, and each "
                f"fold needs one; use {f'at most {most}' if most > 1 else '0'}, or budget.labels={self.folds * classes}"
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
