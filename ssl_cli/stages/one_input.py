"""One input of many, as a person sees it: its name, its picture, its text."""

from collections.abc import Sequence

import torch
from PIL import Image

from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.types import Dataset, Inputs, as_rows, as_texts

LENGTH = 200  # letters of a text in a table


def name_of(item: int, files: Sequence[str]) -> str | int:
    """The path of an input's file; its number where inputs have no names."""
    return files[item] if files else item


def has_pictures(dataset: Dataset) -> bool:
    """Whether its inputs are images, grey or in colour."""
    return dataset.vocabulary is None and dataset.shape[0] in (1, 3)


def picture_of(inputs: Inputs, item: int) -> Image.Image:
    """An image of a data set, grey or in colour, as a picture."""
    pixels = as_rows(inputs)[item].numpy()
    return Image.fromarray(pixels[0] if len(pixels) != 3 else pixels.transpose(1, 2, 0))


def text_of(dataset: Dataset, inputs: Inputs, item: int) -> str:
    """The beginning of a text of a data set."""
    if dataset.vocabulary is None:
        raise TypeError("images are no texts")
    return texts_of(dataset.vocabulary, as_texts(inputs)[torch.tensor([item])])[0][:LENGTH]
