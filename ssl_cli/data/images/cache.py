"""Decoded images on disk: each file is decoded once, and a changed folder decodes only what changed.

A cache is a folder of parts (see `part.py`), which one command at a time makes. Parts are never changed, and what an
interrupted command decoded is there for the next. Small parts are joined to such of `shards.BYTES` as soon as there are enough of
them, and removed, so that the disk never holds all images twice. A data set is one file more, written last: which row of which
part each of its images is, and what was noted of them.
"""

import contextlib
import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_cli.data import shards
from ssl_cli.data.images.files import Reading
from ssl_cli.data.images.item import Item
from ssl_cli.data.images.joining import cut, parts_to_join
from ssl_cli.data.images.part import (
    Decoded,
    Part,
    Version,
    images_at_once,
    new_name,
    read_entries,
    version,
    write_part,
)  # fmt: skip
from ssl_cli.data.images.workers import decode_parts, processes_for
from ssl_cli.data.progress import show_progress
from ssl_cli.data.workplace import Workplace, workplace
from ssl_cli.errors import ConfigError

FORMAT = 1  # raised when the same files give other parts
SHOWN_FROM = 500  # images, whose decoding takes seconds
MAPPED = 64  # parts at a time
SET = "set-"  # begins the names of data sets


class PartLostError(Exception):
    """Another process has replaced a part of a cache, which has all of it in another one now."""


class ImageCache:
    """The decoded images of one folder, in one size."""

    def __init__(self, cache: Path, root: Path, reading: Reading):
        about = json.dumps([FORMAT, str(root.absolute()), asdict(reading)])
        self.setting = cache
        self.folder = cache.expanduser() / "images" / hashlib.sha256(about.encode()).hexdigest()[:24]
        self.root, self.reading = root, reading
        self.size = max(1, shards.BYTES // reading.nbytes)  # rows of a full part
        self._maps: dict[str, np.ndarray] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"dataset.cache={cache}: cannot be written ({error.strerror})") from error

    # Parts

    def decoded(self, items: Sequence[Item], tell: Callable[[int, int], None]) -> list[Decoded]:
        """What each file gives; those that no part has are decoded now, and `tell` is called with how many of how many are.

        Raises:
            PartLostError: another process has replaced a part that has some of them; decode again.
            ConfigError: the disk is full, or the cache cannot be written.
        """
        known = self._known()
        missing = [item for item in items if version(item) not in known]
        loose = self._loose([item for item in items if version(item) in known], known)
        if missing:
            self._check_space(len(missing), beside=min(self.size, len(missing) + len(loose)))
        if missing or loose:
            with self._writing() as place:
                self._decode(place, missing, loose, known, tell)
        return [known[version(item)] for item in items]

    def _decode(
        self, place: Workplace, missing: list[Item], loose: list[Item], known: dict[Version, Decoded],
        tell: Callable[[int, int], None],
    ) -> None:  # fmt: skip
        """Decode files into parts, and join these, and the parts of files that are loose, as soon as they fill one."""
        processes = processes_for(len(missing))
        size = min(self.size, images_at_once(self.reading, len(missing), processes))
        cuts = range(0, len(missing), size)
        parts = [Part(place, self.root, missing[first : first + size], self.reading) for first in cuts]
        done, waiting = 0, [*loose]

        def advance(more: int) -> None:
            nonlocal done
            done += more
            bar.update(more)
            tell(done, len(missing))

        with (
            show_progress("Reading images", "images", len(missing), SHOWN_FROM) as bar,
            contextlib.closing(decode_parts(parts, processes, advance)) as decoded,
        ):
            for part, found in decoded:
                known |= zip(map(version, part.items), found, strict=True)
                if len(waiting) + len(part.items) > self.size:
                    self._join_all(place, waiting, known)
                    waiting = []
                waiting += part.items
        self._join_all(place, waiting, known)

    def _loose(self, items: Sequence[Item], known: dict[Version, Decoded]) -> list[Item]:
        """Those in small parts that belong to no data set, as an interrupted command leaves them."""
        used: set[str] = set()
        for path in self.folder.glob(f"{SET}*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                used.update(json.loads(path.read_text())["parts"])
        found = [known[version(item)] for item in items]
        small = parts_to_join((each for each in found if each.part not in used), self._rows(), self.size)
        return [item for item, each in zip(items, found, strict=True) if each.part in small]

    def _join(self, place: Workplace, items: Sequence[Item], known: dict[Version, Decoded]) -> set[str]:
        """Write what files gave into full parts, where it is known to be from then on; returns the parts where it was."""
        before = {known[version(item)].part for item in items}
        for some in cut(items, known, self.size):
            name, entries, row = new_name(), [], 0
            old = [known[version(item)] for item in some]
            for each in old:
                entries.append(replace(each, part=name, row=None if each.row is None else row))
                row += each.row is not None
            pixels = (self.pixels(each) for each in old if each.row is not None)
            write_part(place, name, list(zip(some, entries, strict=True)), pixels, self.reading)
            known |= zip(map(version, some), entries, strict=True)
        return before

    def _join_all(self, place: Workplace, items: Sequence[Item], known: dict[Version, Decoded]) -> None:
        """Make one part of those of these files, which belong to no data set yet."""
        if len({known[version(item)].part for item in items}) > 1:
            self._remove(self._join(place, items, known))

    def _remove(self, parts: set[str]) -> None:
        for part in parts:
            self._maps.pop(part, None)  # the disk keeps what is mapped
            for suffix in (".json", ".npy"):  # the manifest first: without it a part is none
                (self.folder / f"{part}{suffix}").unlink(missing_ok=True)

    def pixels(self, found: Decoded) -> np.ndarray:
        """What a file gave: uint8 (C, H, W).

        Raises:
            PartLostError: another process has replaced the part.
        """
        if found.row is None:
            raise ValueError("this file has no pixels")
        if found.part not in self._maps:
            if len(self._maps) >= MAPPED:  # each keeps a file open, of which a process may have few
                self._maps.pop(next(iter(self._maps)))
            try:
                self._maps[found.part] = np.asarray(np.load(self.folder / f"{found.part}.npy", mmap_mode="r"))
            except FileNotFoundError as error:
                raise PartLostError(found.part) from error
        return self._maps[found.part][found.row]

    def _known(self) -> dict[Version, Decoded]:
        known: dict[Version, Decoded] = {}
        for part, rows in self._rows().items():
            # Another process may have just replaced it, or it is damaged.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
                found = read_entries(self.folder / f"{part}.json")
                known |= found if sum(each.row is not None for each in found.values()) == rows else {}
        return known

    def _rows(self) -> dict[str, int]:
        """How many each part has that can be read."""
        rows: dict[str, int] = {}
        for path in self.folder.glob("*.npy"):
            with contextlib.suppress(OSError, ValueError, EOFError, OverflowError, MemoryError):
                rows[path.stem] = len(np.load(path, mmap_mode="r"))
        return rows

    # Data sets

    def whole(self, name: str) -> tuple[shards.Shards, dict[str, Any]] | None:
        """The images of a data set in its order, mapped, and what was noted of it; None where it is not there or damaged."""
        try:
            about = json.loads((self.folder / f"{SET}{name}.json").read_text())
            parts = [self._mapped(part) for part in about["parts"]]
            numbers, rows = torch.tensor(about["part"]).long(), torch.tensor(about["row"]).long()
            counts = torch.tensor(list(map(len, parts)))
            if len(numbers) != about["notes"]["train"] + about["notes"]["test"] or not _fit(numbers, rows, counts):
                return None
            begins = counts.cumsum(0) - counts
            parts = parts or [torch.empty(0, *self.reading.shape, dtype=torch.uint8)]
            return shards.Shards(parts, begins[numbers] + rows), about["notes"]
        except (
            OSError, ValueError, EOFError, OverflowError, MemoryError, RecursionError, RuntimeError, KeyError, TypeError,
            IndexError,
        ):  # fmt: skip
            return None

    def _mapped(self, part: str) -> torch.Tensor:
        path = self.folder / f"{part}.npy"
        found = np.load(path, mmap_mode="r")
        if found.shape[1:] != self.reading.shape or found.dtype != np.uint8:
            raise ValueError(f"{path.name} has other images")
        return shards.mapped(path, torch.uint8, found.size, found.offset).view(found.shape)

    def keep(
        self, name: str, items: Sequence[Item], found: Sequence[Decoded], order: Sequence[int], notes: dict[str, Any]
    ) -> None:
        """Write which of the files a data set has in which order, and drop what was kept of others.

        Raises:
            PartLostError: another process has replaced a part that has some of them; decode again.
            ConfigError: the disk is full, or the cache cannot be written.
        """
        known = dict(zip(map(version, items), found, strict=True))
        chosen = [version(items[number]) for number in order]
        with self._writing() as place:
            self._write_set(place, name, [known[key] for key in chosen], notes)
            for path in self.folder.glob(f"{SET}*.json"):
                if path.stem != f"{SET}{name}":
                    path.unlink(missing_ok=True)
            there = {path.stem for kind in ("*.npy", "*.json") for path in self.folder.glob(kind)}
            self._remove({part for part in there if not part.startswith(SET)} - {each.part for each in known.values()})
            with contextlib.suppress(OSError):  # without room for it, small parts stay small
                while group := parts_to_join(known.values(), self._rows(), self.size):
                    before = self._join(place, [item for item in items if known[version(item)].part in group], known)
                    self._write_set(place, name, [known[key] for key in chosen], notes)
                    self._remove(before)

    def _write_set(self, place: Workplace, name: str, found: Sequence[Decoded], notes: dict[str, Any]) -> None:
        parts = {part: number for number, part in enumerate(dict.fromkeys(each.part for each in found))}
        lost = next((part for part in parts if not (self.folder / f"{part}.npy").exists()), None)
        if lost is not None:
            raise PartLostError(lost)
        rows = {"part": [parts[each.part] for each in found], "row": [each.row for each in found]}
        with place.writing(f"{SET}{name}.json") as file:
            file.write(json.dumps({"parts": list(parts), **rows, "notes": notes}).encode())

    # The disk

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Workplace]:
        """Raises ConfigError where what is done meanwhile cannot write."""
        try:
            with workplace(self.folder) as place:
                yield place
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "the disk is full; free some space, or choose a folder on another disk" if full else error.strerror
            raise ConfigError(f"dataset.cache={self.setting}: cannot be written ({why})") from error

    def _check_space(self, count: int, beside: int) -> None:
        """Raises ConfigError where so many images, and others beside them for a while, have no room on the disk."""
        needed = (count + beside) * self.reading.nbytes
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise ConfigError(
                f"dataset.cache={self.setting}: {count:,} images take {needed / 1e9:.1f} GB, and "
                f"{free / 1e9:.1f} GB are free there; take a smaller dataset.size, or a folder on another disk"
            )


def _fit(numbers: torch.Tensor, rows: torch.Tensor, counts: torch.Tensor) -> bool:
    """Whether there are such rows in such parts."""
    if len(numbers) != len(rows) or not ((numbers >= 0) & (numbers < len(counts)) & (rows >= 0)).all():
        return False
    return bool((rows < counts[numbers]).all())
