"""A network that fits the images of a data set, and views of as many pixels as it learns most from: `backbone=auto`."""

from pathlib import Path
from typing import Any, Literal

from ssl_cli.config.automatic import values_of
from ssl_cli.data.images.mirror import is_grey
from ssl_cli.data.types import Rows
from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import short
from ssl_cli.runs.own import own_settings
from ssl_cli.runs.saved import saved_settings

SHORTEST = 24  # pixels of the shorter side, below which views of fewer pixels leave a residual network too little
RESOLUTION = 0.625  # 20×20 of 32×32; see docs/results.md, "Photographs with few labels"
PHOTOGRAPHS = "resnet9"
OTHERS = "small"


def chosen_network(images: Rows, checkpoint: Path | Literal["auto"]) -> tuple[dict[str, Any], dict[str, Any], str]:
    """A network for images and smaller views for its pre-training, as settings by key, and a line that says what and why.

    What starts from a pre-training that was named has its network. Else colour photographs of at least 24 pixels get
    `backbone=resnet9`, and all other images `backbone=small`.

    Args:
        images: uint8 (N, C, H, W), of training.
        checkpoint: the folder of that pre-training.

    Returns:
        the settings of the network; those of the views, which not every method takes; the line.
    """
    if checkpoint != "auto" and (network := _network_of(checkpoint)):
        return {"backbone": network}, {}, f"backbone=auto: backbone={network['name']}, as in {short(checkpoint)}."
    side = min(images.shape[2:])
    if is_grey(images):
        return values_of("backbone", OTHERS), {}, f"backbone=auto: backbone={OTHERS}, since the images are grey."
    if side < SHORTEST:
        return (
            values_of("backbone", OTHERS),
            {},
            f"backbone=auto: backbone={OTHERS}, since the images have {side} pixels; a residual network wants {SHORTEST}.",
        )
    return (
        values_of("backbone", PHOTOGRAPHS),
        {"augment.pretrain.resolution": RESOLUTION},
        f"backbone=auto: backbone={PHOTOGRAPHS}, a small residual network for colour photographs.",
    )


def _network_of(folder: Path) -> dict[str, Any] | None:
    """The saved settings of a run's network; None where they cannot be used, which is said when the run starts from there."""
    try:
        saved_settings(f"checkpoint={folder}", folder)  # a stranger's may name nothing that is not trusted
    except (ConfigError, OSError):
        return None
    return own_settings(f"checkpoint={folder}", folder)["backbone"]
