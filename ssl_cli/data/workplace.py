"""Where a process puts files of a cache that are not whole yet, so that others see each file whole or not at all."""

import contextlib
import shutil
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.runs import claim

UNFINISHED = ".making-"


@dataclass(frozen=True)
class Workplace:
    """Whole files are in `folder`, others meanwhile in `work`, a folder of one process in it."""

    folder: Path
    work: Path

    @contextlib.contextmanager
    def writing(self, name: str) -> Generator[Any]:
        """A binary file to write, that is moved into the folder at the end, and gone where that is not reached."""
        temporary = self.work / name
        try:
            with temporary.open("wb") as file:
                yield file
            temporary.replace(self.folder / name)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def workplace(folder: Path) -> Generator[Workplace]:
    """A place of this process alone in a folder; those of processes that are gone are removed.

    Where a disk locks no files, two processes may make the same; neither takes the other one's files away.

    Raises:
        OSError: it cannot be written.
    """
    work = Path(tempfile.mkdtemp(dir=folder, prefix=UNFINISHED))
    try:
        with claim.claimed(work):
            _remove_left(folder, work.stat().st_mtime)
            yield Workplace(folder, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _remove_left(folder: Path, now: float) -> None:
    """Remove what processes that were killed left half-written; `now` is by the clock of the disk."""
    for path in folder.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            lock = path / claim.NAME
            is_claimed = lock.exists() and lock.stat().st_size > 0
            is_old = path.stat().st_mtime < now - claim.STALE  # and not just made, unclaimed as yet
            if claim.holder_of(path) is None and (is_claimed or is_old):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
