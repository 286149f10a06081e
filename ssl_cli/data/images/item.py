"""One image file of a folder, and what is known of it."""

from typing import NamedTuple


class Item(NamedTuple):
    """One file, by its path below the root; None: not known. Its bytes and when they changed, in nanoseconds, tell versions."""

    path: str
    label: str | None
    part: str | None
    case: str | None
    size: int
    changed: int
