"""Decoded images on disk: each file is decoded once, and a changed folder decodes only what changed.

A cache is a folder of parts. A part is `NAME.npy`, uint8 (N, C, H, W), and `NAME.json`, written last, which says which version of
which file each row is, and why others gave none. Parts are never changed: at worst, two processes at once decode a file twice,
and what an interrupted one decoded is there for the next. Once all images of a data set are decoded, one part has all of
them in the order of the data set, so that it can be mapped as a whole, and replaces those before it.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_cli.data.images.duplicates import perceptual_hash
from ssl_cli.data.images.files import PassingError, Reading, UnreadableError, decode_image, read_file
from ssl_cli.data.images.listing import Item
from ssl_cli.data.progress import show_progress
from ssl_cli.errors import ConfigError

FORMAT = 1  # raised when the same files give other parts
AT_ONCE = 1024  # images of a part while they are decoded
SHOWN_FROM = 500  # images, whose decoding takes seconds
MAPPED = 64  # parts at a time
STALE = 86_400  # seconds after which unfinished files of a process that was killed are removed


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
            self._remove_stale()
        except OSError as error:
            raise ConfigError(f"dataset.cache={cache}: cannot be written ({error.strerror})") from error

    # Parts

    def decoded(self, items: Sequence[Item]) -> list[Decoded]:
        """What each file gives; those that no part has are decoded now.

        Raises:
            ConfigError: the disk is full, or the cache cannot be written.
        """
        known = self._known()
        missing = [item for item in items if _version(item) not in known]
        if missing:
            self._check_space(len(missing), beside=len(items))  # all of them are written once more, in their order
            with show_progress("Reading images", "images", len(missing), SHOWN_FROM) as bar, _threads() as pool:
                for first in range(0, len(missing), AT_ONCE):
                    known |= self._decode(missing[first : first + AT_ONCE], pool, bar)
        return [known[_version(item)] for item in items]

    def whole(self, name: str) -> tuple[np.ndarray, dict[str, Any]] | None:
        """The part of a whole data set, mapped, and what was noted of it; None where it is not there or damaged."""
        try:
            about = json.loads((self.folder / f"{name}.json").read_text())
            pixels = np.load(
                self.folder / f"{name}.npy", mmap_mode="c"
            )  # private pages: torch wants to be able to write
        except (OSError, ValueError, EOFError):
            return None
        shape = (about["reasons"].count(None), self.reading.channels, self.reading.height, self.reading.width)
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
        self._write(name, items, found, (self.row(place) for place in places), len(places), notes)
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
                self._maps[part] = np.load(self.folder / f"{part}.npy", mmap_mode="r")
            except FileNotFoundError as error:
                raise PartLostError(part) from error
        return self._maps[part][row]

    def _known(self) -> dict[tuple[str, int, int], Decoded]:
        known: dict[tuple[str, int, int], Decoded] = {}
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):  # another process has just replaced it
                about = json.loads(path.read_text())
                if not path.with_suffix(".npy").exists():
                    continue
                row = 0
                for version, found, look, reason in zip(
                    zip(about["paths"], about["sizes"], about["changed"], strict=True),
                    about["hashes"], about["looks"], about["reasons"], strict=True,
                ):  # fmt: skip
                    known[version] = Decoded(found, look, reason, None if reason else (path.stem, row))
                    row += reason is None
        return known

    def _decode(self, items: Sequence[Item], pool: ThreadPoolExecutor, bar: Any) -> dict[tuple[str, int, int], Decoded]:
        """Decode some files into a part of their own."""
        name = f"part-{os.urandom(8).hex()}"
        found: list[Decoded] = []
        rows: list[np.ndarray] = []
        for digest, look, answer in pool.map(self._read, items):
            bar.update()
            if isinstance(answer, UnreadableError):
                found.append(Decoded(digest, look, str(answer), None, isinstance(answer, PassingError)))
            else:
                found.append(Decoded(digest, look, None, (name, len(rows))))
                rows.append(answer)
        self._write(name, items, found, iter(rows), len(rows), {})
        return dict(zip(map(_version, items), found, strict=True))

    def _read(self, item: Item) -> tuple[str, int, np.ndarray | UnreadableError]:
        """Hash, perceptual hash, and pixels or the reason why there are none."""
        digest = ""
        try:
            content = read_file(self.root / item.path)
            digest = hashlib.blake2b(content, digest_size=16).hexdigest()
            pixels = decode_image(content, Path(item.path).suffix, self.reading)
        except UnreadableError as reason:
            return digest, 0, reason
        return digest, perceptual_hash(pixels), pixels

    def _write(
        self,
        name: str,
        items: Sequence[Item],
        found: Sequence[Decoded],
        rows: Iterable[np.ndarray],
        count: int,
        notes: dict,
    ) -> None:
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
        shape = (count, self.reading.channels, self.reading.height, self.reading.width)
        try:
            with self._new(f"{name}.npy") as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
                for row in rows:
                    file.write(row.tobytes())
            with self._new(f"{name}.json") as file:
                file.write(json.dumps(about).encode())
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "the disk is full; free some space, or choose a folder on another disk" if full else error.strerror
            raise ConfigError(f"dataset.cache={self.setting}: cannot be written ({why})") from error

    @contextlib.contextmanager
    def _new(self, name: str) -> Iterator[Any]:
        """A file that is there whole or not at all."""
        descriptor, temporary = tempfile.mkstemp(dir=self.folder, prefix=".making-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            Path(temporary).replace(self.folder / name)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _check_space(self, count: int, beside: int = 0) -> None:
        """Raises ConfigError where so many images, beside others that come later, have no room on the disk."""
        needed = (count + beside) * self.reading.channels * self.reading.height * self.reading.width
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise ConfigError(
                f"dataset.cache={self.setting}: {count:,} images take {needed / 1e9:.1f} GB, and "
                f"{free / 1e9:.1f} GB are free there; take a smaller dataset.size, or a folder on another disk"
            )

    def _remove_stale(self) -> None:
        for path in self.folder.glob(".making-*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE:
                    path.unlink()


def _version(item: Item) -> tuple[str, int, int]:
    return item.path, item.size, item.changed


def _threads() -> ThreadPoolExecutor:
    """As many as there are cores: decoders let go of Python's lock."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
