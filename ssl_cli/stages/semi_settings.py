"""The settings of `stage=semi`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ssl_cli.config.schema import Config, Count, Ending, Fraction, NonNegative, Stage

ORIGINS = {"pretrained": "pre-trained weights", "finetuned": "fine-tuning"}
METHODS = {"fixmatch": "FixMatch", "pseudo_label": "pseudo-labels"}


@dataclass(frozen=True)
class FixMatch:
    """Pseudo-labels from weak views, for strong ones, if their confidence reaches `threshold`; an EMA teacher is tested.

    pseudo_labels_from: the network that is trained, or its EMA teacher.
    teacher_input: what they are predicted from, a weak view or the image without augmentation.
    strong: the part of `augment` that makes the strong views.
    temperature: of soft pseudo-labels; 0 for hard ones.
    """

    pseudo_labels_from: Literal["student", "ema_teacher"]
    teacher_input: Literal["weak_view", "image"]
    strong: Literal["pretrain", "supervised"]
    threshold: Fraction
    temperature: NonNegative
    unlabelled_weight: NonNegative
    momentum: Annotated[float, "[0, 1)"]


@dataclass(frozen=True)
class PseudoLabel:
    """The predicted class is the label, with a weight that grows between two fractions of all steps."""

    unlabelled_weight: NonNegative
    ramp_start: Fraction
    ramp_end: Fraction


@dataclass(frozen=True)
class SemiStage(Stage):
    """Labelled and unlabelled inputs in every batch, `labelled_batch_size` of the former.

    init: initial weights; `finetuned` are those of a fine-tuning with the same settings.
    """

    name: Literal["semi"]
    method: Literal["pseudo_label", "fixmatch"]
    init: Literal["random", "pretrained", "finetuned"]
    labelled_batch_size: Count
    fixmatch: FixMatch
    pseudo_label: PseudoLabel

    function: ClassVar[str] = "ssl_cli.stages.semi.semi"
    ends_in: ClassVar[Ending] = "classifier"
    labelled_batches: ClassVar[tuple[str, ...]] = (*Stage.labelled_batches, "stage.labelled_batch_size")

    @property
    def phases(self) -> tuple[str, ...]:
        """Semi-supervised training, and what comes before it."""
        before = {"random": (), "pretrained": ("pretrain",), "finetuned": ("pretrain", "supervised")}
        return (*before[self.init], "semi")

    def problems(self, config: Config) -> Iterator[str]:
        """A ramp that ends before it starts."""
        if self.pseudo_label.ramp_start >= self.pseudo_label.ramp_end:
            yield (
                f"stage.pseudo_label.ramp_end={self.pseudo_label.ramp_end:g}: must be above "
                f"stage.pseudo_label.ramp_start={self.pseudo_label.ramp_start:g}"
            )

    def batch_sizes(self, config: Config) -> Iterator[tuple[str, int]]:
        """The labelled inputs come in addition."""
        yield from super().batch_sizes(config)
        yield "stage.labelled_batch_size", self.labelled_batch_size

    def arm(self, config: Config) -> str:
        """By its method and its initial weights."""
        name = METHODS[self.method]
        return name if self.init == "random" else f"{name}, from {ORIGINS[self.init]}"
