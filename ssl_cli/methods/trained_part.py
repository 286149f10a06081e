"""Training a part of a classifier's backbone, as large or published networks ask for where labels are few."""

import torch

from ssl_cli.config.schema import TrainedPart
from ssl_cli.errors import ConfigError
from ssl_cli.methods.supervised import Supervised
from ssl_cli.models.last_layers import freeze_all_but_last
from ssl_cli.models.low_rank import add_low_rank
from ssl_cli.randomness import derived_seed


def train_part(classifier: Supervised, part: TrainedPart, name: str, seed: int) -> None:
    """Freeze what of the backbone is not trained, and add what is trained beside it; the head is trained in any case.

    Args:
        classifier: with its first weights.
        part: what is trained. Where it is the head alone, nothing is done here: features take the inputs' place.
        name: of the backbone, for messages.
        seed: of the first weights of what is added.

    Raises:
        ConfigError: the backbone has no such part.
    """
    try:
        if part.kind == "last":
            classifier.keep_in_evaluation(freeze_all_but_last(classifier.backbone, part.layers))
        if part.kind == "lora":
            torch.manual_seed(derived_seed(seed, "low rank"))
            classifier.keep_in_evaluation(add_low_rank(classifier.backbone, part.rank, part.alpha))
    except ValueError as error:
        key = f"stage.layers={part.layers}" if part.kind == "last" else f"stage.rank={part.rank}"
        raise ConfigError(f"{key}: backbone={name}: {error}") from error
