"""The settings of `stage=finetune` and `stage=baseline`, which differ in their first weights only."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from ssl_cli.config.schema import (
    Config,
    Count,
    Ending,
    Facts,
    NonNegative,
    NonNegativeInt,
    Positive,
    Stage,
    TrainedPart,
)

NUMBERS = {"layers": "last", "rank": "lora", "alpha": "lora"}  # settings that count for one value of `train`


@dataclass(frozen=True)
class SupervisedStage(Stage):
    """The label budget, from random or from pre-trained weights.

    train: what is trained beside the head: all of the backbone; nothing of it (`head`); its `last` layers; or `lora`, low-rank
        matrices beside its weights.
    layers: of `last`, how many; those that `probe` shows, counted from the last one.
    rank, alpha: of `lora`; the matrices' product counts `alpha` / `rank` times, once where `alpha` is null.
    language_model: weight of the language model's loss on the labelled texts, beside the classifier's.
    folds: parts of the budget, each tested by a classifier that was trained on the others; 0: none.
    fold: the one part, from 0 on, that this run leaves out and tests instead of the test inputs; null: none.
    """

    name: Literal["baseline", "finetune"]
    train: Literal["all", "head", "last", "lora"] = "all"
    layers: Count | None = None
    rank: Count | None = None
    alpha: Positive | None = None
    language_model: NonNegative = 0.0
    folds: NonNegativeInt = 0
    fold: NonNegativeInt | None = None

    function: ClassVar[str] = "ssl_cli.stages.finetune.finetune"
    ends_in: ClassVar[Ending] = "classifier"

    @property
    def phases(self) -> tuple[str, ...]:
        """Training on labels, of pre-trained weights or not."""
        return ("supervised",) if self.name == "baseline" else ("pretrain", "supervised")

    @property
    def frozen(self) -> bool:
        """Whether the backbone stays as it is, and its features are standardised."""
        return self.train == "head"

    @property
    def trained_part(self) -> TrainedPart:
        """As `train` and its numbers say."""
        rank = self.rank or 0
        return TrainedPart(self.train, self.layers or 0, rank, float(self.alpha or rank))

    def problems(self, config: Config) -> Iterator[str]:
        """Numbers that `train` needs, or has no use for; a language model of which nothing is trained."""
        for key, kind in NUMBERS.items():
            value = getattr(self, key)
            if value is not None and self.train != kind:
                yield (
                    f"stage.{key}={value:g}: is for stage.train={kind}, and stage.train={self.train} has no use for it; "
                    "leave it out"
                )
        if self.train == "last" and self.layers is None:
            yield "stage.layers=null: stage.train=last needs the number of layers that are trained, such as 2"
        if self.train == "lora" and self.rank is None:
            yield "stage.rank=null: stage.train=lora needs the rank of its matrices, such as 8"
        if self.frozen and self.language_model:
            yield (
                f"stage.language_model={self.language_model:g}: stage.train=head trains nothing that a language model learns; "
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
        """By its first weights, and by what of them is trained."""
        part = self._part()
        published = config.backbone.arguments.get("weights") is not None
        if self.name == "baseline" and published:
            return f"published weights, {part or 'fine-tuned'}"
        if self.name == "baseline" and part:
            return f"random weights, {part}"
        if self.name == "baseline":
            augmented = any(getattr(step, "p", 0) for step in config.augment.supervised.arguments.values())
            return "labels only, with augmentation" if augmented else "labels only"
        pretrained = "published weights, pre-trained further" if published else "pre-trained"
        layers = len(config.head.projection.arguments.get("widths", ()))
        if config.head.keep == 0:
            return f"{pretrained}, {part or 'new head'}"
        if self.frozen:
            return f"{pretrained}, {part}"
        kept = (
            "same head" if config.head.keep in ("all", layers) else f"{config.head.keep} of {layers} head layers kept"
        )
        return ", ".join(word for word in (pretrained, part, kept) if word)

    def _part(self) -> str:
        """What is trained of the backbone, in words; none where it is all."""
        last = "last layer" if self.layers == 1 else f"last {self.layers} layers"
        return {"all": "", "head": "frozen", "last": last, "lora": f"LoRA of rank {self.rank}"}[self.train]
