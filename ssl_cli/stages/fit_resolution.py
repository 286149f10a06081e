"""Do a method and a backbone take views that are smaller than the images?"""

from typing import Any

import torch

from ssl_cli.config.schema import Config
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError
from ssl_cli.methods.base import Method


def check_resolution(config: Config, part: str, views: Any, method: Method, dataset: Dataset) -> None:
    """On the meta device, where the views are smaller; nothing is checked of others, nor of texts.

    Args:
        config: the settings.
        part: of `augment` that the views are of, pretrain or supervised.
        views: of the images.
        method: that gets them.
        dataset: the images.

    Raises:
        ConfigError: the method needs views as large as the images, or its backbone does not take smaller ones.
    """
    share = getattr(views, "resolution", 1)
    if share == 1:
        return
    key = f"augment.{part}.resolution={share:g}"
    if not method.any_resolution:
        raise ConfigError(f"{key}: method={config.method.name} needs views as large as the images, so 1")
    if any(not parameter.is_meta for parameter in method.backbone.parameters()):
        return  # it was tried before, and a forward pass would move the statistics of batch norm
    channels, height, width = dataset.shape[0], *views.size_of(*dataset.shape[1:])
    try:
        if hasattr(method.backbone, "check_sides"):  # which a network of one's own need not have
            method.backbone.check_sides((channels, height, width))
        method.backbone(torch.empty(2, channels, height, width))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"{key}: views of {height}×{width} do not pass backbone={config.backbone.name} ({error}); take a larger share"
        ) from error
