"""One part of a cache of decoded images: files decoded, and written whole or not at all.

A part is `NAME.npy`, uint8 (N, C, H, W), and `NAME.json`, written last, which says which version of which file each row is,
and why others gave none.
"""

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_cli.data.images.duplicates import perceptual_hash
from ssl_cli.data.images.files import PassingError, Reading, UnreadableError, as_array, as_input, open_image, read_file
from ssl_cli.data.images.item import Item

AT_ONCE = 1024  # images of a part while they are decoded, at most
BYTES_AT_ONCE = 64 << 20  # of their pixels, at most
SHARES = 4  # parts for each process, so that none decodes for long while the others are done
FEWEST = 64  # images of a part, where the bytes allow it


@dataclass(frozen=True)
class Decoded:
    """What one version of a file gave.

    hash: of the file's bytes; look: a perceptual hash of 64 bits, equal for images that look the same; reason: why there are no
    pixels, or None; place: the part and the row of its pixels; passing: whether it may be read another time.
    """

    hash: str
    look: int
    reason: str | None
    place: tuple[str, int] | None
    passing: bool = False


@dataclass(frozen=True)
class Part:
    """What becomes one part: the cache's folder, the folder of the images, some of them, and how they are read."""

    folder: Path
    root: Path
    items: Sequence[Item]
    reading: Reading


def images_at_once(reading: Reading, count: int, processes: int) -> int:
    """How many of `count` images make a part: little memory, and work for all processes to the end."""
    shares = max(FEWEST, math.ceil(count / (SHARES * processes)))
    return max(1, min(AT_ONCE, shares, BYTES_AT_ONCE // (reading.channels * reading.height * reading.width)))


def decode_part(part: Part, count: Callable[[int], object]) -> list[Decoded]:
    """Decode some files into a part of their own; what each of them gave.

    Args:
        part: which files, and where it is written.
        count: is told after each file how many are done.

    Raises:
        OSError: the part cannot be written.
    """
    name = f"part-{os.urandom(8).hex()}"
    found: list[Decoded] = []
    rows: list[np.ndarray] = []
    for item in part.items:
        digest, look, answer = _decode(part.root / item.path, part.reading)
        if isinstance(answer, UnreadableError):
            found.append(Decoded(digest, look, str(answer), None, isinstance(answer, PassingError)))
        else:
            found.append(Decoded(digest, look, None, (name, len(rows))))
            rows.append(answer)
        count(len(found))
    shape = (len(rows), part.reading.channels, part.reading.height, part.reading.width)
    write_part(part.folder, name, part.items, found, rows, shape, {})
    return found


def write_part(
    folder: Path, name: str, items: Sequence[Item], found: Sequence[Decoded], rows: Iterable[np.ndarray],
    shape: tuple[int, ...], notes: dict[str, Any],
) -> None:  # fmt: skip
    """Write a part: the pixels, of this shape in all, then what each file gave.

    Raises:
        OSError: it cannot be written.
    """
    lasting = [(item, each) for item, each in zip(items, found, strict=True) if not each.passing]
    about = {
        "paths": [item.path for item, _ in lasting],
        "sizes": [item.size for item, _ in lasting],
        "changed": [item.changed for item, _ in lasting],
        "hashes": [each.hash for _, each in lasting],
        "looks": [each.look for _, each in lasting],
        "reasons": [each.reason for _, each in lasting],
        "notes": notes,
    }
    with _new(folder / f"{name}.npy") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for row in rows:
            file.write(row.tobytes())
    with _new(folder / f"{name}.json") as file:
        file.write(json.dumps(about).encode())


@contextlib.contextmanager
def _new(path: Path) -> Iterator[Any]:
    """A file that is there whole or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".making-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


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
