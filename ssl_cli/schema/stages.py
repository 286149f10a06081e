"""What a run does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ssl_cli.schema.basics import (
    Amount,
    BackboneComponent,
    Count,
    DatasetComponent,
    MethodComponent,
    Part,
    Positive,
)

CLASSIFIERS = ("baseline", "finetune", "distill", "semi")  # those that end in one classifier


@dataclass(frozen=True)
class PretrainStage:
    """Every training input, no labels."""

    name: Literal["pretrain"]


@dataclass(frozen=True)
class SupervisedStage:
    """The label budget, from random or from pre-trained weights; `frozen` trains the classifier only."""

    name: Literal["baseline", "finetune"]
    frozen: bool


@dataclass(frozen=True)
class ProbeStage:
    """A linear classifier and nearest neighbours on the features of layers: `all`, or their numbers from 1 on."""

    name: Literal["probe"]
    layers: list[Count] | Literal["all"]
    neighbours: Count


@dataclass(frozen=True)
class DistillStage:
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
class SemiStage:
    """Labels and unlabelled inputs in every batch, `labelled` of the former.

    start: the first weights; `finetuned` are those of a fine-tuning with the same settings.
    """

    name: Literal["semi"]
    method: Literal["pseudo_label", "fixmatch"]
    start: Literal["random", "pretrained", "finetuned"]
    labelled: Count
    fixmatch: FixMatch
    pseudo_label: PseudoLabel


@dataclass(frozen=True)
class Shifts:
    """The strengths at which test inputs are shifted; see `ssl_cli.augment.shifts` for what they mean."""

    noise: list[Positive]
    blur: list[Positive]
    contrast: list[Annotated[float, "(0, 1]"]]
    rotation: list[Annotated[float, "(0, 180]"]]
    inversion: list[Annotated[float, "(0, 1]"]]


@dataclass(frozen=True)
class EvaluateStage:
    """Finished classifiers on shifted test inputs.

    run: the folder of one, or of a comparison.
    other: another data set to test them on.
    """

    name: Literal["evaluate"]
    run: Path | None
    other: DatasetComponent | None
    shifts: Shifts


@dataclass(frozen=True)
class SystemStage:
    """SimCLRv2's three steps with a big network, and a small `student`, for `seeds` seeds from `seed` on."""

    name: Literal["simclr_v2"]
    seeds: Count
    student: BackboneComponent
    sees: Literal["view", "input"]
    self_temperature: Positive
    temperature: Positive


@dataclass(frozen=True)
class CompareStage:
    """All arms, for `seeds` seeds from `seed` on."""

    name: Literal["compare"]
    seeds: Count


@dataclass(frozen=True)
class LeagueStage:
    """All `methods` by the same rules, for `seeds` seeds from `seed` on.

    equal: what every pre-training gets the same of: `time` on this machine, `seconds` of it, or `epochs`, as the schedule says.
    neighbours: that vote.
    rates: the learning rates of methods for which the schedule's is not fit.
    """

    name: Literal["league"]
    seeds: Count
    equal: Literal["time", "epochs"]
    seconds: Positive
    neighbours: Count
    methods: dict[str, MethodComponent]
    rates: dict[str, Positive]
