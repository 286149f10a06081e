"""The files below a folder, by their names relative to it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ssl_cli.errors import ConfigError


def find_files(key: str, folder: Path, is_wanted: Callable[[Path], bool]) -> tuple[dict[str, Path], list[str]]:
    """The wanted files that are not hidden, by their names in order, and the names of the others; see `walk`."""
    found = {name: path for name, entry in walk(key, folder) if (path := Path(entry.path)).is_file()}
    ordered = sorted(found, key=lambda name: name.split("/"))
    wanted = {name: found[name] for name in ordered if is_wanted(found[name])}
    return wanted, [name for name in ordered if name not in wanted]


def walk(key: str, root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """All below a folder that is no folder and not hidden, by its name relative to it, with slashes; in no order.

    Links to folders are followed, but in no circle: a folder that is there by several names is so by one of them.

    Args:
        key: the setting that names the folder, for messages.
        root: the folder.

    Raises:
        ConfigError: a folder cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            about = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise ConfigError(f"{key}={root}: {folder} cannot be read ({error.strerror})") from error
        if (about.st_dev, about.st_ino) in seen:
            continue
        seen.add((about.st_dev, about.st_ino))
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link to itself
                continue
            if is_folder:
                waiting.append((Path(entry.path), f"{prefix}{entry.name}/"))
            else:
                yield prefix + entry.name, entry
