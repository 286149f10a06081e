"""What stands on a backbone, and what a loss compares."""

from dataclasses import dataclass
from typing import Annotated, Literal

from ssl_cli.config.schema.basics import HeadComponent, NonNegativeInt


@dataclass(frozen=True)
class Head:
    """Both ends: the projection head of pre-training, the classifier of fine-tuning, and what survives between."""

    name: str
    projection: HeadComponent
    classifier: HeadComponent
    keep: NonNegativeInt | Literal["all"]


@dataclass(frozen=True)
class Negatives:
    """What a contrastive loss repels an anchor from, beside the other inputs of the batch, and what it spares.

    queue: number of embeddings of earlier batches, from an EMA teacher with `momentum` (0: none).
    debias: the share of negatives that are taken to be of the anchor's own class.
    cancel: the share of negatives, the most similar ones, that is left out.
    """

    queue: NonNegativeInt
    momentum: Annotated[float, "[0, 1)"]
    debias: Annotated[float, "[0, 1)"]
    cancel: Annotated[float, "[0, 1)"]
