"""Views that fit the images of a data set: what `augment=auto` stands for."""

from typing import Any

from ssl_cli.config.automatic import values_of
from ssl_cli.data.images.mirror import FEWEST, SAME, is_grey, mirror_ratio
from ssl_cli.data.types import Rows

BLURRED_FROM = 64  # pixels of the shorter side
GREY: dict[str, Any] = {
    "name": "grey",
    "pretrain.crop": {"p": 0.5, "area": [0.5, 1.0], "ratio": [0.75, 1.3333]},
    "pretrain.affine": {"p": 1.0, "rotation": 20.0, "shift": 0.1, "scale": [0.8, 1.2], "shear": 15.0},
    "pretrain.colour": {"p": 0.8, "brightness": 0.6, "contrast": 0.6},
    "pretrain.blur": {"p": 0.5, "sigma": [0.3, 1.5]},
    "pretrain.erase": {"p": 0.3},
    "supervised.affine": {"p": 1.0, "rotation": 15.0, "shift": 0.1, "scale": [0.85, 1.15], "shear": 10.0},
    "supervised.colour": {"p": 0.8, "brightness": 0.6, "contrast": 0.6},
    "supervised.blur": {"p": 0.5, "sigma": [0.3, 1.5]},
}


def chosen_views(images: Rows) -> tuple[dict[str, Any], str]:
    """Views for images, as settings by key, and a line that says what and why.

    Colour photographs get those of `augment=natural`, with crops of at least 8/side of the area (between 0.08 and 0.4), since
    little is left of a small part of a small image, and blur from 64 pixels on. Grey images get shifts, rotations, mild crops,
    brightness, contrast, blur and erasing. Flips are on where `mirror_ratio` is at most `SAME`.

    Args:
        images: uint8 (N, C, H, W), of training.
    """
    grey, ratio = is_grey(images), mirror_ratio(images)
    flips = ratio is not None and ratio <= SAME
    channels, side = images.shape[1], min(images.shape[2:])
    values = _grey(channels, side) if grey else _colour(side)
    for part in ("pretrain", "supervised"):
        values[f"augment.{part}.flip.p"] = 0.5 if flips else 0.0
    what = "grey images" if grey else "colour photographs"
    if ratio is None:
        why = f"too little to tell from ({len(images):,} images; {FEWEST} that differ are needed)"
    else:
        why = f"mirrored images are {ratio:.2f} times as far from the others as unmirrored ones; at most {SAME}"
    return values, f"augment=auto: views for {what} of {side} pixels, {'with' if flips else 'without'} flips ({why})."


def _colour(side: int) -> dict[str, Any]:
    values = values_of("augment", "natural")
    least = round(min(0.4, max(0.08, 8 / side)), 2)
    values["augment.pretrain.crop.area"] = [least, 1.0]
    values["augment.supervised.crop.area"] = [max(0.2, 2 * least), 1.0]
    if side >= BLURRED_FROM:
        values |= {"augment.pretrain.blur.p": 0.5, "augment.pretrain.blur.kernel": _kernel(side)}
    return values


def _grey(channels: int, side: int) -> dict[str, Any]:
    values = {
        f"augment.{key}.{name}": item
        for key, setting in GREY.items()
        if isinstance(setting, dict)
        for name, item in setting.items()
    }
    values["augment.name"] = GREY["name"]
    for part in ("pretrain", "supervised"):
        values[f"augment.{part}.blur.kernel"] = _kernel(side)
        if channels not in (1, 3):  # brightness and contrast know grey and red, green, blue
            values[f"augment.{part}.colour.p"] = 0.0
        if side < 3:
            values[f"augment.{part}.blur.p"] = 0.0
    return values


def _kernel(side: int) -> int:
    """The width of a blur in pixels: a tenth of the image (SimCLR, appendix A), at least 3, odd."""
    return max(3, side // 10 // 2 * 2 + 1)
