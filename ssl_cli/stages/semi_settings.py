"""The settings of `stage=semi`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ssl_cli.config.schema import Amount, Config, Count, Part, Stage

STARTS = {"pretrained": "pre-trained weights", "finetuned": "fine-tuning"}
METHODS = {"fixmatch": "FixMatch", "pseudo_label": "pseudo-labels"}


@dataclass(frozen=True)
class FixMatch:
    """A weak view labels the strong one where its answer reaches `threshold`; a running average of weights is tested.

    labeller: what answers to the weak view, the network that learns or its average.
    sees: what it answers to, a weak view or the input as it is.
    strong: which views are the strong ones, those of which part of `augment`.
    temperature: of the answers that are learnt; 0 for their first choice alone.
    """

    labeller: Literal["network", "average"]
    sees: Literal["view", "input"]
    strong: Literal["pretrain", "supervised"]
    threshold: Part
    temperature: Amount
    weight: Amount
    momentum: Annotated[float, "[0, 1)"]


@dataclass(frozen=True)
class PseudoLabel:
    """The network's first choice is the label, with a weight that grows between two shares of all steps."""

    weight: Amount
    begin: Part
    full: Part


@dataclass(frozen=True)
class SemiStage(Stage):
    """Labels and unlabelled inputs in every batch, `labelled` of the former.

    start: the first weights; `finetuned` are those of a fine-tuning with the same settings.
    """

    name: Literal["semi"]
    method: Literal["pseudo_label", "fixmatch"]
    start: Literal["random", "pretrained", "finetuned"]
    labelled: Count
    fixmatch: FixMatch
    pseudo_label: PseudoLabel

    function: ClassVar[str] = "ssl_cli.stages.semi.semi"
    ends_in: ClassVar[str] = "classifier"

    @property
    def phases(self) -> tuple[str, ...]:
        """Semi-supervised training, and what comes before it."""
        before = {"random": (), "pretrained": ("pretrain",), "finetuned": ("pretrain", "supervised")}
        return (*before[self.start], "semi")

    def problems(self, config: Config) -> Iterator[str]:
        """A weight that would be there before it begins to grow."""
        if self.pseudo_label.begin >= self.pseudo_label.full:
            yield (
                f"stage.pseudo_label.full={self.pseudo_label.full:g}: must be above "
                f"stage.pseudo_label.begin={self.pseudo_label.begin:g}"
            )

    def arm(self, config: Config) -> str:
        """By its method and its first weights."""
        name = METHODS[self.method]
        return name if self.start == "random" else f"{name}, from {STARTS[self.start]}"
