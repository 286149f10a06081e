"""Decoded images on disk: each file is decoded once, and a changed folder decodes only what changed.

A cache is a folder of parts (see `part.py`), which one command at a time makes. Parts are never changed, and what an
interrupted command decoded is there for the next. Once all images of a data set are decoded, one part has all of
them in the order of the data set, so that it can be mapped as a whole, and replaces those before it.
"""

import contextlib
import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ssl_cli.data.images.files import Reading
from ssl_cli.data.images.item import Item
from ssl_cli.data.images.part import Decoded, Part, images_at_once, write_part
from ssl_cli.data.images.workers import decode_parts, processes_for
from ssl_cli.data.progress import show_progress
from ssl_cli.errors import ConfigError

FORMAT = 1  # raised when the same files give other parts
SHOWN_FROM = 500  # images, whose decoding takes seconds
MAPPED = 64  # parts at a time


class PartLostError(Exception):
    """Another process has replaced a part of a cache, which has all of it in another one now."""


class ImageCache:
    """The decoded images of one folder, in one size."""

    def __init__(self, cache: Path, root: Path, reading: Reading):
        about = json.dumps([FORMAT, str(root.absolute()), asdict(reading)])
        self.setting = cache
        self.folder = cache.expanduser() / "images" / hashlib.sha256(about.encode()).hexdigest()[:24]
        self.root, self.reading = root, reading
        self._maps: dict[str, np.ndarray] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"dataset.cache={cache}: cannot be written ({error.strerror})") from error

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.reading.channels, self.reading.height, self.reading.width

    # Parts

    def decoded(self, items: Sequence[Item], tell: Callable[[int, int], None]) -> list[Decoded]:
        """What each file gives; those that no part has are decoded now, and `tell` is called with how many of how many are.

        Raises:
            ConfigError: the disk is full, or the cache cannot be written.
        """
        known = self._known()
        missing = [item for item in items if _version(item) not in known]
        if missing:
            self._check_space(len(missing), beside=len(items))  # all of them are written once more, in their order
            processes = processes_for(len(missing))
            size = images_at_once(self.reading, len(missing), processes)
            cuts = range(0, len(missing), size)
            parts = [Part(self.folder, self.root, missing[first : first + size], self.reading) for first in cuts]
            done = 0

            def advance(more: int) -> None:
                nonlocal done
                done += more
                bar.update(more)
                tell(done, len(missing))

            with (
                self._writing(),
                show_progress("Reading images", "images", len(missing), SHOWN_FROM) as bar,
                contextlib.closing(decode_parts(parts, processes, advance)) as decoded,
            ):
                for part, found in decoded:
                    known |= zip(map(_version, part.items), found, strict=True)
        return [known[_version(item)] for item in items]

    def whole(self, name: str) -> tuple[np.ndarray, dict[str, Any]] | None:
        """The part of a whole data set, mapped, and what was noted of it; None where it is not there or damaged."""
        try:
            about = json.loads((self.folder / f"{name}.json").read_text())
            # Private pages: torch wants to be able to write.
            pixels = np.load(self.folder / f"{name}.npy", mmap_mode="c")
        except (OSError, ValueError, EOFError, OverflowError, MemoryError, RecursionError):
            return None
        if not (
            isinstance(about, dict) and isinstance(about.get("reasons"), list) and isinstance(about.get("notes"), dict)
        ):
            return None
        shape = (about["reasons"].count(None), *self._shape)
        return (pixels, about["notes"]) if pixels.shape == shape and pixels.dtype == np.uint8 else None

    def write_whole(self, name: str, items: Sequence[Item], found: Sequence[Decoded], notes: dict[str, Any]) -> None:
        """Write the part of a whole data set, the images in this order, and drop the parts before it.

        Raises:
            PartLostError: another process has replaced a part that has some of them; decode again.
            ConfigError: the disk is full, or the cache cannot be written.
        """
        before = {path.stem for path in self.folder.glob("*.json")}
        places = [each.place for each in found if each.place is not None]
        self._check_space(len(places))
        rows = (self.row(place) for place in places)
        shape = (len(places), *self._shape)
        with self._writing():
            write_part(self.folder, name, items, found, rows, shape, notes)
        for part in before - {name}:
            for suffix in (".json", ".npy"):  # the manifest first: without it a part is none
                (self.folder / f"{part}{suffix}").unlink(missing_ok=True)

    def row(self, place: tuple[str, int]) -> np.ndarray:
        """The pixels at a place: uint8 (C, H, W).

        Raises:
            PartLostError: another process has replaced the part.
        """
        part, row = place
        if part not in self._maps:
            if len(self._maps) >= MAPPED:  # each keeps a file open, of which a process may have few
                self._maps.pop(next(iter(self._maps)))
            try:
                self._maps[part] = np.asarray(np.load(self.folder / f"{part}.npy", mmap_mode="r"))
            except FileNotFoundError as error:
                raise PartLostError(part) from error
        return self._maps[part][row]

    def _known(self) -> dict[tuple[str, int, int], Decoded]:
        known: dict[tuple[str, int, int], Decoded] = {}
        for path in self.folder.glob("*.json"):
            # Another process may have just replaced it, or it is damaged.
            with contextlib.suppress(
                OSError,
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
                RecursionError,
                EOFError,
                OverflowError,
                MemoryError,
            ):
                about = json.loads(path.read_text())
                shape = (about["reasons"].count(None), *self._shape)
                pixels = np.load(path.with_suffix(".npy"), mmap_mode="r")
                if pixels.shape != shape or pixels.dtype != np.uint8:
                    continue
                row = 0
                for version, found, look, reason in zip(
                    zip(about["paths"], about["sizes"], about["changed"], strict=True),
                    about["hashes"], about["looks"], about["reasons"], strict=True,
                ):  # fmt: skip
                    if not isinstance(reason, str | None):
                        raise TypeError("a reason is a sentence")
                    known[version] = Decoded(found, look, reason, None if reason else (path.stem, row))
                    row += reason is None
        return known

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raises ConfigError where what is done meanwhile cannot write."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "the disk is full; free some space, or choose a folder on another disk" if full else error.strerror
            raise ConfigError(f"dataset.cache={self.setting}: cannot be written ({why})") from error

    def _check_space(self, count: int, beside: int = 0) -> None:
        """Raises ConfigError where so many images, beside others that come later, have no room on the disk."""
        needed = (count + beside) * self.reading.channels * self.reading.height * self.reading.width
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise ConfigError(
                f"dataset.cache={self.setting}: {count:,} images take {needed / 1e9:.1f} GB, and "
                f"{free / 1e9:.1f} GB are free there; take a smaller dataset.size, or a folder on another disk"
            )

    def remove_unfinished(self) -> None:
        """Remove what commands that were killed left half-written, as the only one that makes this cache."""
        for path in self.folder.glob(".making-*"):
            with contextlib.suppress(OSError):
                path.unlink()


def _version(item: Item) -> tuple[str, int, int]:
    return item.path, item.size, item.changed
