"""Views whose settings contradict each other, or do not fit the images."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ssl_cli.config import signatures
from ssl_cli.config.schema import Config, Facts, ImageFacts


def view_problems(config: Config, facts: Facts | None) -> Iterator[str]:
    """A sentence for each setting of the views that contradicts another one, or the shape of the images."""
    shape = facts.shape if isinstance(facts, ImageFacts) else None
    for name in ("pretrain", "supervised"):
        steps = getattr(config.augment, name).arguments
        where = f"augment.{name}"
        is_scaled = "scale" in signatures.parameters(getattr(config.augment, name).path)
        if is_scaled and config.augment.scale is None:
            yield f"augment.scale=null: {where} makes views of images, whose pixels need a range; must be above 0"
        if not is_scaled and config.augment.scale is not None:
            yield f"augment.scale={config.augment.scale:g}: {where} makes views of texts, which have no pixels; must be null"
        ranges = (("affine", "scale"), ("crop", "area"), ("crop", "ratio"), ("blur", "sigma"), ("erase", "area"),
                  ("erase", "ratio"), ("span", "share"))  # fmt: skip
        for step, key in ranges:
            low, high = getattr(steps.get(step), key, (1, 1))
            top = 1 if key in ("area", "share") else math.inf
            if not 0 < low <= high <= top:
                yield f"{where}.{step}.{key}=[{low:g}, {high:g}]: must rise, above 0{' and up to 1' if top == 1 else ''}"
        perspective = steps.get("perspective")
        if perspective and perspective.p and not perspective.distortion:
            yield f"{where}.perspective.distortion=[]: needs at least one value, since p={perspective.p:g} is above 0"
        blur = steps.get("blur")
        if blur and blur.kernel % 2 == 0:
            yield f"{where}.blur.kernel={blur.kernel}: must be odd"
        share = steps.get("resolution", 1)
        if blur and blur.p and shape and blur.kernel > 2 * max(1, round(min(shape[1:]) * share)) - 1:
            smaller = "" if share == 1 else f" at {where}.resolution={share:g}"
            yield f"{where}.blur.kernel={blur.kernel}: is wider than inputs of {shape[1]}×{shape[2]}{smaller} allow"
        yield from _colour_problems(where, steps, config.dataset.name, shape)


def _colour_problems(
    where: str, steps: Mapping[str, Any], dataset: str, shape: tuple[int, ...] | None
) -> Iterator[str]:
    colour, grey = steps.get("colour"), steps.get("grey")
    if colour and colour.hue * colour.strength > 0.5:
        yield (
            f"{where}.colour: hue={colour.hue:g} times strength={colour.strength:g} is {colour.hue * colour.strength:g}; "
            "at most 0.5, half of the colour circle"
        )
    if not shape:
        return
    if shape[0] == 1 and colour and colour.p and (colour.saturation or colour.hue):
        yield (
            f"{where}.colour: saturation={colour.saturation:g} and hue={colour.hue:g} need colour, and "
            f"dataset={dataset} is grey; set both to 0, or augment=digits"
        )
    if shape[0] in (1, 3):
        return
    asked = {f"colour.{key}": getattr(colour, key) for key in ("contrast", "saturation", "hue")} if colour else {}
    asked = asked if colour and colour.p and colour.strength else {}
    if grey:
        asked["grey.p"] = grey.p
    for key, value in asked.items():
        if value:
            yield (
                f"{where}.{key}={value:g}: is for images that are grey, or red, green and blue, and those of "
                f"dataset={dataset} have {shape[0]} channels; set it to 0"
            )
