"""The settings of `stage=distill`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ssl_cli.config.schema import Config, Ending, Fraction, Positive, Stage


@dataclass(frozen=True)
class DistillStage(Stage):
    """A student learns a teacher's predictions on all training inputs.

    teacher: a run's folder, or `auto` for a fine-tuning with the same settings.
    teacher_input: the student's `view`, or the `image` without augmentation.
    init: the student's initial weights.
    alpha: weight of the distillation loss; that of the labels is 1 − alpha.
    """

    name: Literal["distill"]
    teacher: Literal["auto"] | Path
    teacher_input: Literal["view", "image"]
    init: Literal["random", "pretrained"]
    temperature: Positive
    alpha: Fraction

    function: ClassVar[str] = "ssl_cli.stages.distill.distill"
    ends_in: ClassVar[Ending] = "classifier"

    @property
    def phases(self) -> tuple[str, ...]:
        """The student's training, and what comes before it."""
        pretrained = ("pretrain",) if self.init == "pretrained" or self.teacher == "auto" else ()
        return (*pretrained, *(("supervised",) if self.teacher == "auto" else ()), "distill")

    def arm(self, config: Config) -> str:
        """By the student's initial weights."""
        return "distilled" if self.init == "random" else "distilled, from pre-trained weights"
