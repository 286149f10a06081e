"""Inputs from Python as what a finished network takes: file paths, pictures, arrays or texts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from ssl_cli.data.images.files import Reading, UnreadableError, pixels_of, read_image
from ssl_cli.data.types import Inputs
from ssl_cli.stages.given_inputs import AT_ONCE, reading_of, text_inputs
from ssl_cli.stages.trained import TrainedNetwork

Given = str | Path | Image.Image | np.ndarray


def as_inputs(given: Given | Sequence[Given], trained: TrainedNetwork) -> Iterator[Inputs]:
    """Batches of what the network takes, in the order in which they are given.

    Args:
        given: one input or a list of them. For a network for images: paths, Pillow's images, or uint8 arrays (H, W) or (H, W, C);
            one array (N, H, W, C) is N images. For a network for texts: strings.
        trained: the network.

    Raises:
        ValueError: an input is of another kind, or a file has no image.
    """
    alone = isinstance(given, str | Path | Image.Image) or (isinstance(given, np.ndarray) and given.ndim == 2)
    if isinstance(given, np.ndarray) and given.ndim == 3:
        raise ValueError(
            f"an array of {given.shape}: may be one image or several; give a list of arrays, or (N, H, W, C)"
        )
    items: list[Any] = [given] if alone else list(given)  # pyright: ignore[reportArgumentType]  # what is alone is no list
    for first in range(0, len(items), AT_ONCE):
        part = items[first : first + AT_ONCE]
        yield _texts(part, trained) if trained.form.vocabulary is not None else _images(part, trained)


def _texts(part: list[Any], trained: TrainedNetwork) -> Inputs:
    wrong = next((item for item in part if not isinstance(item, str)), None)
    if wrong is not None:
        raise ValueError(f"the network takes texts, so strings; one input is a {type(wrong).__name__}")
    return text_inputs(part, trained)


def _images(part: list[Any], trained: TrainedNetwork) -> Inputs:
    reading = trained.form.reading
    if reading is None:
        raise TypeError("the network takes no images")
    return torch.from_numpy(np.stack([_pixels(item, reading, trained) for item in part]))


def _pixels(item: Any, reading: Reading, trained: TrainedNetwork) -> np.ndarray:
    """uint8 (C, H, W)."""
    if isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or item.ndim not in (2, 3):
            raise ValueError(f"an array of {item.dtype} {item.shape}: must be uint8 (H, W) or (H, W, C)")
        whole = item[..., None] if item.ndim == 2 else item
        if whole.shape == (reading.height, reading.width, reading.channels):
            return np.ascontiguousarray(whole.transpose(2, 0, 1))
        if whole.shape[2] not in (1, 3, 4):
            raise ValueError(f"an array of {item.shape}: must have 1, 3 or 4 channels, which come last")
        return pixels_of(Image.fromarray(whole[..., 0] if whole.shape[2] == 1 else whole), reading_of(trained.form))
    try:
        if isinstance(item, Image.Image):
            return pixels_of(ImageOps.exif_transpose(item), reading_of(trained.form))
        if isinstance(item, str | Path):
            return read_image(Path(item), reading_of(trained.form))
    except UnreadableError as error:
        raise ValueError(f"{item}: {error}") from error
    raise ValueError(
        f"the network takes images: paths, Pillow's images or uint8 arrays; one input is a {type(item).__name__}"
    )
