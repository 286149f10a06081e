"""One part of a cache of decoded images: written whole or not at all, and never changed.

A part is `NAME.npy`, uint8 (N, C, H, W), and `NAME.json`, written last, which says which version of which file each row is,
and why others gave none.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_cli.data.images.duplicates import perceptual_hash
from ssl_cli.data.images.files import PassingError, Reading, UnreadableError, as_array, as_input, open_image, read_file
from ssl_cli.data.images.item import Item
from ssl_cli.data.workplace import Workplace

AT_ONCE = 1024  # images of a part while they are decoded, at most
BYTES_AT_ONCE = 64 << 20  # of their pixels, at most
SHARES = 4  # parts for each process, so that none decodes for long while the others are done
FEWEST = 64  # images of a part, where the bytes allow it

Version = tuple[str, int, int]  # of a file: its path, its size, and when it was changed


@dataclass(frozen=True)
class Decoded:
    """What one version of a file gave.

    hash: of the file's bytes; look: a perceptual hash of 64 bits, equal for images that look the same; reason: why there are no
    pixels, or None; part: where this stands; row: of its pixels there, or None; passing: whether it may be read another time.
    """

    hash: str
    look: int
    reason: str | None
    part: str
    row: int | None
    passing: bool = False


@dataclass(frozen=True)
class Part:
    """What becomes one part: where, the folder of the images, some of them, and how they are read."""

    place: Workplace
    root: Path
    items: Sequence[Item]
    reading: Reading


def version(item: Item) -> Version:
    """By which a file is known again."""
    return item.path, item.size, item.changed


def new_name() -> str:
    """A name that no other part has."""
    return f"part-{os.urandom(8).hex()}"


def images_at_once(reading: Reading, count: int, processes: int) -> int:
    """How many of `count` images make a part: little memory, and work for all processes to the end."""
    shares = max(FEWEST, math.ceil(count / (SHARES * processes)))
    return max(1, min(AT_ONCE, shares, BYTES_AT_ONCE // reading.nbytes))


def decode_part(part: Part, count: Callable[[int], object]) -> list[Decoded]:
    """Decode some files into a part of their own; what each of them gave.

    Args:
        part: which files, and where it is written.
        count: is told after each file how many are done.

    Raises:
        OSError: the part cannot be written.
    """
    name = new_name()
    found: list[Decoded] = []
    rows: list[np.ndarray] = []
    for item in part.items:
        digest, look, answer = _decode(part.root / item.path, part.reading)
        if isinstance(answer, UnreadableError):
            found.append(Decoded(digest, look, str(answer), name, None, isinstance(answer, PassingError)))
        else:
            found.append(Decoded(digest, look, None, name, len(rows)))
            rows.append(answer)
        count(len(found))
    write_part(part.place, name, list(zip(part.items, found, strict=True)), rows, part.reading)
    return found


def write_part(
    place: Workplace, name: str, entries: Sequence[tuple[Item, Decoded]], rows: Iterable[np.ndarray], reading: Reading
) -> None:
    """Write a part: the pixels of the files that have some, in this order, then what each file gave.

    Raises:
        OSError: it cannot be written.
    """
    lasting = [(item, each) for item, each in entries if not each.passing]
    about = {
        "paths": [item.path for item, _ in lasting],
        "sizes": [item.size for item, _ in lasting],
        "changed": [item.changed for item, _ in lasting],
        "hashes": [each.hash for _, each in lasting],
        "looks": [each.look for _, each in lasting],
        "reasons": [each.reason for _, each in lasting],
    }
    shape = (sum(each.reason is None for _, each in lasting), *reading.shape)
    with place.writing(f"{name}.npy") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for row in rows:
            file.write(row.tobytes())
    with place.writing(f"{name}.json") as file:
        file.write(json.dumps(about).encode())


def read_entries(path: Path) -> dict[Version, Decoded]:
    """What the files of a part gave, by its `.json`.

    Raises:
        OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError: it is gone or damaged.
    """
    about = json.loads(path.read_text())
    known: dict[Version, Decoded] = {}
    row = 0
    for key, found, look, reason in zip(
        zip(about["paths"], about["sizes"], about["changed"], strict=True),
        about["hashes"], about["looks"], about["reasons"], strict=True,
    ):  # fmt: skip
        if not isinstance(reason, str | None):
            raise TypeError("a reason is a sentence")
        known[key] = Decoded(found, look, reason, path.stem, None if reason else row)
        row += reason is None
    return known


def _decode(path: Path, reading: Reading) -> tuple[str, int, np.ndarray | UnreadableError]:
    """Hash, perceptual hash, and pixels or the reason why there are none."""
    digest = ""
    try:
        content = read_file(path)
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        image = as_input(open_image(content, path.suffix, reading), reading)
    except UnreadableError as reason:
        return digest, 0, reason
    return digest, perceptual_hash(image), as_array(image)
