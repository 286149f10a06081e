"""The settings of `stage=distill`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ssl_cli.config.schema import Config, Part, Positive, Stage


@dataclass(frozen=True)
class DistillStage(Stage):
    """A student learns a teacher's answers to every training input.

    teacher: a run's folder, or `auto` for a fine-tuning with the same settings.
    sees: what the teacher answers to: the student's `view`, or the `input` as it is.
    start: the student's first weights.
    alpha: the weight of the teacher's answers; labels weigh 1 − alpha.
    """

    name: Literal["distill"]
    teacher: Literal["auto"] | Path
    sees: Literal["view", "input"]
    start: Literal["random", "pretrained"]
    temperature: Positive
    alpha: Part

    function: ClassVar[str] = "ssl_cli.stages.distill.distill"
    ends_in: ClassVar[str] = "classifier"

    @property
    def phases(self) -> tuple[str, ...]:
        """The student's training, and what comes before it."""
        pretrained = ("pretrain",) if self.start == "pretrained" or self.teacher == "auto" else ()
        return (*pretrained, *(("supervised",) if self.teacher == "auto" else ()), "distill")

    def arm(self, config: Config) -> str:
        """By the student's first weights."""
        return "distilled" if self.start == "random" else "distilled, from pre-trained weights"
