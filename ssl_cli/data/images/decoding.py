"""Many image files: found in a folder, decoded in threads."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ssl_cli.data.find_files import find_files
from ssl_cli.data.images.files import Reading, UnreadableError, is_image, read_image

AHEAD = 4  # files that wait for their turn, for each thread


def find_images(key: str, path: Path) -> tuple[dict[str, Path], list[str]]:
    """The images below a folder by their names relative to it, in order, and the names of other files that are not hidden.

    An image file itself is the only one, whatever its name ends in.

    Raises:
        ConfigError: a folder of `key`=`path` cannot be read.
    """
    if path.is_file():
        return {path.name: path}, []
    return find_files(key, path, is_image)


def read_images(paths: Iterable[Path], reading: Reading) -> Iterator[np.ndarray | UnreadableError]:
    """The pixels of each file, uint8 (C, H, W), in their order, or why it has none."""
    threads = min(16, os.cpu_count() or 1)
    waiting: deque[Future[np.ndarray | UnreadableError]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for path in paths:
            waiting.append(pool.submit(_attempt, path, reading))
            if len(waiting) > AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _attempt(path: Path, reading: Reading) -> np.ndarray | UnreadableError:
    try:
        return read_image(path, reading)
    except UnreadableError as error:
        return error
