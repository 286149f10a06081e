"""The steps of views: each has a probability `p`; 0 switches it off."""

from dataclasses import dataclass
from typing import Annotated

from ssl_cli.config.schema.basics import Amount, Count, Degrees, Part, Positive, Range, ViewsComponent


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
    pretrain: ViewsComponent
    supervised: ViewsComponent
