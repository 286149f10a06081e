"""The steps of views: each has a probability `p`; 0 switches it off."""

from dataclasses import dataclass
from typing import Annotated

from ssl_cli.config.schema.basics import Count, Degrees, Fraction, NonNegative, Positive, Range, ViewsComponent


@dataclass(frozen=True)
class Affine:
    """Rotation and shear in degrees either way, shift as a share of the side, scale as a range."""

    p: Fraction
    rotation: Degrees
    shift: Fraction
    scale: Range
    shear: Annotated[float, "[0, 90)"]


@dataclass(frozen=True)
class Perspective:
    """Each corner moves inwards by up to half of `distortion`; several distortions follow one another."""

    p: Fraction
    distortion: list[Fraction]


@dataclass(frozen=True)
class Crop:
    """A random part of the image, by its share of the area and its width-to-height ratio, resized to the whole."""

    p: Fraction
    area: Range
    ratio: Range


@dataclass(frozen=True)
class Flip:
    """Left–right mirror."""

    p: Fraction


@dataclass(frozen=True)
class Blur:
    """Gaussian blur, `times` times, each drawn on its own. `kernel` in pixels, odd."""

    p: Fraction
    kernel: Count
    sigma: Range
    times: Count


@dataclass(frozen=True)
class Colour:
    """Brightness, contrast and saturation by 1 ± value, hue by a share of the colour circle, in random order.

    `strength` is a factor on all four (s in SimCLR).
    """

    p: Fraction
    brightness: NonNegative
    contrast: NonNegative
    saturation: NonNegative
    hue: Annotated[float, "[0, 0.5]"]
    strength: NonNegative


@dataclass(frozen=True)
class Grey:
    """Colours removed."""

    p: Fraction


@dataclass(frozen=True)
class Solarise:
    """Pixels at or above the threshold inverted."""

    p: Fraction
    threshold: Fraction


@dataclass(frozen=True)
class Erase:
    """A black rectangle, by its share of the area and its width-to-height ratio."""

    p: Fraction
    area: Range
    ratio: Range


@dataclass(frozen=True)
class Augment:
    """The views of pre-training and of supervised training, and the range of a pixel, 0 to `scale`; null for texts."""

    name: str
    scale: Positive | None
    pretrain: ViewsComponent
    supervised: ViewsComponent


Length = Annotated[int, "[4, inf)"]  # of a text in tokens


@dataclass(frozen=True)
class Span:
    """A random part of a text, by its share of the tokens; otherwise the text from its beginning."""

    p: Fraction
    share: Range


@dataclass(frozen=True)
class TokenDropout:
    """Each token left out with probability `p`; a text keeps at least one."""

    p: Annotated[float, "[0, 1)"]
