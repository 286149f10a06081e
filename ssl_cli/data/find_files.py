"""The files below a folder, by their names relative to it."""

from collections.abc import Callable
from pathlib import Path


def find_files(folder: Path, is_wanted: Callable[[Path], bool]) -> tuple[dict[str, Path], list[str]]:
    """The wanted files that are not hidden, by their names in order, and the names of the others."""
    wanted: dict[str, Path] = {}
    others: list[str] = []
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts) or not file.is_file():
            continue
        if is_wanted(file):
            wanted[inside.as_posix()] = file
        else:
            others.append(inside.as_posix())
    return wanted, others
