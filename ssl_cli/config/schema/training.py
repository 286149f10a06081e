"""How long, in which batches, at which rate."""

from dataclasses import dataclass
from typing import Annotated, Literal

from ssl_cli.config.schema.basics import Count, Fraction, NonNegative, NonNegativeInt, Positive

Decay = Annotated[float, "[0, 1)"]  # the share of a running mean that stays after a step


@dataclass(frozen=True)
class Optimiser:
    """How gradients become steps."""

    name: Literal["sgd", "adam", "adamw", "lars"]
    lr: Positive
    lr_scale: Literal["none", "linear", "root"]  # lr as it stands, lr · B / 256, or lr · √B
    momentum: Decay  # sgd and lars
    betas: tuple[Decay, Decay]  # adam and adamw: of the means of gradients and of their squares
    weight_decay: NonNegative


@dataclass(frozen=True)
class Rate:
    """The learning rate as a function of the step: linear warm-up, then a decay."""

    warmup: Annotated[float, "[0, 1)"]  # share of all steps
    decay: Literal["constant", "linear", "cosine", "inverse_root", "exponential"]
    gamma: Annotated[float, "(0, 1]"]  # exponential: the factor of one epoch


@dataclass(frozen=True)
class Stop:
    """Stop after more than `patience` epochs in a row that lower the loss by less than `improvement` (a share)."""

    patience: NonNegativeInt
    improvement: Fraction


@dataclass(frozen=True)
class Phase:
    """One training: how long, in which batches, at which rate. Every batch is full; the rest of an epoch is dropped.

    A step is one of the optimiser, of `gradient_accumulation` batches.
    """

    epochs: Count
    steps_per_epoch: Count | None  # null: all full batches
    max_steps: Count | None  # null: all epochs
    batch_size: Count
    order: Literal["shuffle", "file"]
    optimiser: Optimiser
    rate: Rate
    gradient_clipping: Positive | None  # the largest norm of a step's gradient; null: any
    gradient_accumulation: Count  # batches whose gradients are averaged for one step of the optimiser
    ema: Decay  # of the average of the weights that is evaluated and kept; 0: the weights themselves are
    stop: Stop | None
    log_every: Count  # steps
    evaluate_every: NonNegativeInt  # epochs; 0: never while training


@dataclass(frozen=True)
class Supervised(Phase):
    """Training on the label budget."""

    label_smoothing: Annotated[float, "[0, 1)"]
    pretrained_rate: Annotated[float, "(0, 1]"]  # the share of the learning rate that pre-trained weights learn at
    class_weights: Literal["none", "balanced", "logit_adjusted"]  # what is done about classes with few labels
    select: Literal["last", "best_validation", "best_test"]


@dataclass(frozen=True)
class Schedule:
    """All trainings: without labels, on labels, on a teacher's answers, and on labels and unlabelled inputs together.

    minutes: of pre-training, or of the last training where the stage makes no pre-training; null: the steps of the phases.
    """

    name: str
    pretrain: Phase
    supervised: Supervised
    distill: Phase
    semi: Phase  # its batch_size counts the inputs without a label
    minutes: Positive | None = None
