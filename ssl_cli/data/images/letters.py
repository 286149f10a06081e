"""The Latin letters in typefaces that come with matplotlib."""

import importlib.util
import string
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ssl_cli.config.schema import ImageFacts
from ssl_cli.data.types import Dataset, Split
from ssl_cli.errors import ConfigError

# The faces whose glyphs are letters; those left out hold mathematical signs, or only a part of the alphabet.
TRAIN = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSansMono", "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic", "STIXGeneral",
    "STIXGeneralItalic", "STIXGeneralBolIta", "cmb10", "cmmi10", "cmr10", "cmss10", "cmti10",
)  # fmt: skip
TEST = ("DejaVuSans-Oblique", "DejaVuSansMono-Bold", "DejaVuSerif-Italic", "STIXGeneralBol", "cmtt10")
SIZE = 48  # font size at which a letter is rendered before it is resized
STROKES = (0, 1, 2)  # outline width in pixels: each face in three weights
SIDE, BOX = 28, 20  # of an image, and of the box that a letter fills, as in MNIST


def letters(facts: ImageFacts) -> Dataset:
    """Upper- and lower-case letters, white on black, in 26 classes, since many look alike in both cases.

    Each face is rendered in three weights. The test set has separate faces. As in MNIST, a letter fills a box of 20 × 20
    and its centre of mass stands in the middle of 28 × 28 (LeCun et al., 1998).

    Raises:
        ConfigError: matplotlib's fonts are not where they are expected.
    """
    return Dataset(_split(TRAIN), _split(TEST), tuple(string.ascii_uppercase))


def _split(faces: tuple[str, ...]) -> Split:
    fonts = [ImageFont.truetype(_file(face), SIZE) for face in faces]
    drawn = [
        (_render(letter, font, stroke), string.ascii_letters.index(letter) % 26)
        for font in fonts
        for stroke in STROKES
        for letter in string.ascii_letters
    ]
    images, labels = zip(*drawn, strict=True)
    return Split(torch.from_numpy(np.stack(images))[:, None], torch.tensor(labels))


def _file(face: str) -> str:
    package = importlib.util.find_spec("matplotlib")  # found, not imported: only its files are wanted
    folders = None if package is None else package.submodule_search_locations
    if not folders:
        raise ConfigError("dataset=letters: the package matplotlib, which carries the fonts, is missing")
    file = Path(folders[0]) / "mpl-data" / "fonts" / "ttf" / f"{face}.ttf"
    if not file.is_file():
        raise ConfigError(f"dataset=letters: {file} is missing; pip install --force-reinstall 'matplotlib>=3.8'")
    return str(file)


def _render(letter: str, font: ImageFont.FreeTypeFont, stroke: int) -> np.ndarray:
    """Render one letter: uint8 (28, 28)."""
    canvas = Image.new("L", (3 * SIZE, 3 * SIZE))
    ImageDraw.Draw(canvas).text((SIZE, SIZE), letter, fill=255, font=font, stroke_width=stroke)
    glyph = canvas.crop(canvas.getbbox())
    shrink = BOX / max(glyph.size)
    glyph = glyph.resize([max(1, round(side * shrink)) for side in glyph.size], Image.Resampling.LANCZOS)
    weights = np.asarray(glyph, dtype=np.float64)
    image = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (
        _start(weights.sum(axis) @ np.arange(length) / weights.sum(), length)
        for axis, length in ((1, glyph.height), (0, glyph.width))
    )
    image[top : top + glyph.height, left : left + glyph.width] = np.asarray(glyph)
    return image


def _start(mass: float, length: int) -> int:
    """Offset of a letter along an axis that centres its mass and keeps all of it inside."""
    return min(max(round((SIDE - 1) / 2 - mass), 0), SIDE - length)
