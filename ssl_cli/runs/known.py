"""Runs below some folders by what they were asked for: a sweep looks here for those that answer its jobs."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

from ssl_cli.runs import claim
from ssl_cli.runs.below import folders_below
from ssl_cli.runs.identity import RECORD, recorded
from ssl_cli.runs.reading import DamagedError, is_file, read_json
from ssl_cli.runs.referred import referral
from ssl_cli.runs.result import FORMAT, numbers_first

AROUND = ("*", "*/*")  # how deep is looked around the folder of a sweep, where other files may lie


@dataclass(frozen=True)
class Known:
    """Runs that were found.

    finished, begun: folders by what their runs were asked for; of several the first in the order of their paths.
    stamps: what data and machines were by their stamps.
    """

    finished: dict[str, Path] = field(default_factory=dict)
    begun: dict[str, Path] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)

    def interrupted(self, asked: str) -> Path | None:
        """The folder of an unfinished run that nobody works on."""
        folder = self.begun.get(asked)
        return None if folder is None or claim.holder_of(folder) is not None else folder


def known_runs(below: Path, around: Path) -> Known:
    """All runs below a folder of runs, and those one or two levels below another folder, which may hold anything."""
    known = Known()
    places = set(folders_below(below))
    for pattern in AROUND:
        with contextlib.suppress(OSError):
            places.update(path for path in around.glob(f"{pattern}/") if not path.is_symlink())
    for folder in sorted(places, key=numbers_first):
        _add(known, folder)
    return known


def _add(known: Known, folder: Path) -> None:
    reference = referral(folder)
    if reference is not None:
        known.stamps.update(reference.stamps)
    found = recorded(folder) if is_file(folder / RECORD) else None
    if found is None:
        return
    known.stamps.update(found.stamps)
    where = known.finished if _is_finished(folder) else known.begun if is_file(folder / "config.yaml") else {}
    for asked in found.asked:
        where.setdefault(asked, folder)


def _is_finished(folder: Path) -> bool:
    try:
        return (read_json(folder / "result.json") or {}).get("format") == FORMAT
    except DamagedError:
        return False
