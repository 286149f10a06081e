"""The size and the channels that a folder's images are read at, chosen from the images where nothing says them."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ssl_cli.data.images.files import Fit, Reading, UnreadableError, is_colour, open_image, read_file, to_eight_bits
from ssl_cli.data.images.item import Item
from ssl_cli.errors import ConfigError

log = logging.getLogger("ssl_cli")

LOOKED_AT = 200  # files, evenly spaced, by which size and colour are chosen
LARGEST = 64  # pixels a side that are proposed: what two processor cores train on in minutes


def choose_reading(
    root: Path,
    items: Sequence[Item],
    size: int | Literal["auto"],
    colour: bool | Literal["auto"],
    fit: Fit,
    cache: Path,
) -> Reading:
    """What all files are read as. What is to be chosen is chosen from some of the files, and remembered in the cache."""
    if size != "auto" and colour != "auto":
        return Reading(size, size, 3 if colour else 1, fit)
    key = hashlib.sha256(json.dumps([str(root.absolute()), items]).encode()).hexdigest()[:24]
    path = cache.expanduser() / "images" / f"look-{key}.json"
    try:
        side, coloured = json.loads(path.read_text())
        if not (isinstance(side, int) and side > 0 and isinstance(coloured, bool)):
            raise ValueError("neither a side nor whether there is colour")
    except (OSError, ValueError, TypeError, RecursionError):  # it is not there, or damaged
        side, coloured = _look(root, items)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps([side, coloured]))
        except OSError as error:
            raise ConfigError(f"dataset.cache={cache}: cannot be written ({error.strerror})") from error
    chosen = min(side, LARGEST) if size == "auto" else size
    if size == "auto":
        more = f"; dataset.size={side} keeps all of it" if side > LARGEST else ""
        log.info(
            "Images are read at %s×%s pixels: the short side of half of them is at least %s%s.",
            chosen, chosen, side, more,
        )  # fmt: skip
    return Reading(chosen, chosen, 3 if (coloured if colour == "auto" else colour) else 1, fit)


def _look(root: Path, items: Sequence[Item]) -> tuple[int, bool]:
    """The median short side of some images, at least 8, and whether any shows a colour."""
    sides: list[int] = []
    coloured = False
    for number in np.linspace(0, len(items) - 1, min(len(items), LOOKED_AT)).astype(int).tolist():
        path = root / items[number].path
        try:
            image = to_eight_bits(open_image(read_file(path), path.suffix))
        except UnreadableError:
            continue
        sides.append(min(image.size))
        coloured = coloured or is_colour(image)
    if not sides:
        raise ConfigError(f"dataset.root={root}: none of the images that were tried can be read")
    return max(int(np.median(sides)), 8), coloured
