"""The types of every setting. Values live in `conf/`; there are no defaults here.

A type may carry an interval (`Annotated[float, "(0, 1]"]`) that `ssl_cli.config` checks. This module imports neither
torch nor OmegaConf, so that a misspelt key is answered at once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

Count = Annotated[int, "[1, inf)"]
NotNegative = Annotated[int, "[0, inf)"]
Positive = Annotated[float, "(0, inf)"]
Amount = Annotated[float, "[0, inf)"]
Part = Annotated[float, "[0, 1]"]  # a probability or a share
Degrees = Annotated[float, "[0, 180]"]
Range = tuple[float, float]
Shape = tuple[Count, Count, Count]  # channels, height, width


@dataclass(frozen=True)
class Target:
    """One choice of an open group: a class or function by its import path, and the arguments it gets."""

    name: str
    path: str
    arguments: dict[str, Any]


# Data


@dataclass(frozen=True)
class Facts:
    """What is known of a data set before it is read, so that mistakes show before anything is read.

    Reading checks them. `null` where they cannot be known.
    """

    inputs: Count | None  # training inputs that have labels
    unlabelled: NotNegative | None
    test: Count | None
    classes: Annotated[int, "[2, inf)"] | None
    shape: Shape | None
    cases: (
        NotNegative | None
    )  # that the training inputs show, such as patients; 0 where nothing says which belong together


@dataclass(frozen=True)
class Budget:
    """Which labels may be seen."""

    kind: Literal["balanced", "random", "first", "fraction", "all"]
    labels: Count | None
    fraction: Annotated[float, "(0, 1]"] | None
    validation: Annotated[float, "[0, 1)"]
    pretrain_on: Literal["all", "rest"]


# Views: each step has a probability `p`; 0 switches it off.


@dataclass(frozen=True)
class Affine:
    """Rotation and shear in degrees either way, shift as a share of the side, scale as a range."""

    p: Part
    rotation: Degrees
    shift: Part
    scale: Range
    shear: Annotated[float, "[0, 90)"]


@dataclass(frozen=True)
class Perspective:
    """Each corner moves inwards by up to half of `distortion`; several distortions follow one another."""

    p: Part
    distortion: list[Part]


@dataclass(frozen=True)
class Crop:
    """A random part of the image, by its share of the area and its width-to-height ratio, resized to the whole."""

    p: Part
    area: Range
    ratio: Range


@dataclass(frozen=True)
class Flip:
    """Left–right mirror."""

    p: Part


@dataclass(frozen=True)
class Blur:
    """Gaussian blur, `times` times, each drawn on its own. `kernel` in pixels, odd."""

    p: Part
    kernel: Count
    sigma: Range
    times: Count


@dataclass(frozen=True)
class Colour:
    """Brightness, contrast and saturation by 1 ± value, hue by a share of the colour circle, in random order.

    `strength` is a factor on all four (s in SimCLR).
    """

    p: Part
    brightness: Amount
    contrast: Amount
    saturation: Amount
    hue: Annotated[float, "[0, 0.5]"]
    strength: Amount


@dataclass(frozen=True)
class Grey:
    """Colours removed."""

    p: Part


@dataclass(frozen=True)
class Solarise:
    """Pixels at or above the threshold inverted."""

    p: Part
    threshold: Part


@dataclass(frozen=True)
class Erase:
    """A black rectangle, by its share of the area and its width-to-height ratio."""

    p: Part
    area: Range
    ratio: Range


@dataclass(frozen=True)
class Augment:
    """The views of pre-training and of supervised training, and the range of a pixel, 0 to `scale`."""

    name: str
    scale: Positive
    pretrain: Target
    supervised: Target


# Networks


@dataclass(frozen=True)
class Head:
    """Both ends: the projection head of pre-training, the classifier of fine-tuning, and what survives between."""

    name: str
    projection: Target
    classifier: Target
    keep: NotNegative | Literal["all"]


@dataclass(frozen=True)
class Negatives:
    """What a contrastive loss repels an anchor from, beside the other inputs of the batch, and what it spares.

    queue: embeddings of earlier batches, this many, by a network that follows with `momentum` (0: none).
    debias: the share of negatives that are taken to be of the anchor's own class.
    cancel: the share of negatives, the most similar ones, that is left out.
    """

    queue: NotNegative
    momentum: Annotated[float, "[0, 1)"]
    debias: Annotated[float, "[0, 1)"]
    cancel: Annotated[float, "[0, 1)"]


# Training


@dataclass(frozen=True)
class Optimiser:
    """How gradients become steps."""

    name: Literal["sgd", "adam", "adamw", "lars"]
    lr: Positive
    lr_scale: Literal["none", "linear", "root"]  # lr as it stands, lr · B / 256, or lr · √B
    momentum: Annotated[float, "[0, 1)"]  # sgd and lars
    weight_decay: Amount


@dataclass(frozen=True)
class Rate:
    """The learning rate as a function of the step: linear warm-up, then a decay."""

    warmup: Annotated[float, "[0, 1)"]  # share of all steps
    decay: Literal["constant", "cosine", "exponential"]
    gamma: Annotated[float, "(0, 1]"]  # exponential: the factor of one epoch


@dataclass(frozen=True)
class Stop:
    """Stop after more than `patience` epochs in a row that lower the loss by less than `improvement` (a share)."""

    patience: NotNegative
    improvement: Part


@dataclass(frozen=True)
class Phase:
    """One training: how long, in which batches, at which rate. Every batch is full; the rest of an epoch is dropped."""

    epochs: Count
    steps_per_epoch: Count | None  # null: all full batches
    max_steps: Count | None  # null: all epochs
    batch_size: Count
    order: Literal["shuffle", "file"]
    optimiser: Optimiser
    rate: Rate
    stop: Stop | None
    log_every: Count  # steps
    evaluate_every: NotNegative  # epochs; 0: never while training


@dataclass(frozen=True)
class Supervised(Phase):
    """Training on the label budget."""

    label_smoothing: Annotated[float, "[0, 1)"]
    select: Literal["last", "best_validation", "best_test"]


@dataclass(frozen=True)
class Schedule:
    """All trainings: without labels, on labels, on a teacher's answers, and on labels and unlabelled inputs together."""

    name: str
    pretrain: Phase
    supervised: Supervised
    distill: Phase
    semi: Phase  # its batch_size counts the inputs without a label


# Stages

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
    teacher: str
    sees: Literal["view", "input"]
    start: Literal["random", "pretrained"]
    temperature: Positive
    alpha: Part


@dataclass(frozen=True)
class FixMatch:
    """A weak view labels the strong one where its answer reaches `threshold`; a running average of weights is tested."""

    threshold: Part
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

    start: the first weights.
    """

    name: Literal["semi"]
    method: Literal["pseudo_label", "fixmatch"]
    start: Literal["random", "pretrained"]
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
    run: str | None
    other: Target | None
    shifts: Shifts


@dataclass(frozen=True)
class SystemStage:
    """SimCLRv2's three steps with a big network, and a small `student`, for `seeds` seeds from `seed` on."""

    name: Literal["simclr_v2"]
    seeds: Count
    student: Target
    sees: Literal["view", "input"]
    self_temperature: Positive
    temperature: Positive


@dataclass(frozen=True)
class CompareStage:
    """All arms, for `seeds` seeds from `seed` on."""

    name: Literal["compare"]
    seeds: Count


# The machine


@dataclass(frozen=True)
class Runtime:
    """How this machine is used; `auto` is decided, printed and saved at the start."""

    device: str
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    threads: Count | Literal["auto"]
    channels_last: bool | Literal["auto"]
    compile: bool | Literal["auto"]  # torch.compile of the backbone
    checkpoint_seconds: Amount  # how often a running training is saved


@dataclass(frozen=True)
class Config:
    """All settings of one run, checked."""

    seed: NotNegative
    checkpoint: str
    outputs: Path
    stage: (
        PretrainStage
        | SupervisedStage
        | ProbeStage
        | DistillStage
        | SemiStage
        | EvaluateStage
        | CompareStage
        | SystemStage
    )
    dataset: Target
    budget: Budget
    augment: Augment
    backbone: Target
    head: Head
    method: Target
    schedule: Schedule
    runtime: Runtime
