"""What several commands need at the same time in a cache is made by one of them; the others wait, and read what it made."""

import contextlib
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

from ssl_cli.data.progress import show_waiting
from ssl_cli.runs import claim
from ssl_cli.runs.files import partial_name
from ssl_cli.runs.turns import Turn, turn

UNFINISHED = ".making-"


@contextlib.contextmanager
def made_by_one(cache: Path, folder: Path, what: str, unit: str) -> Generator[Turn]:
    """Hold the right to make what is in a folder of a cache; wait, and say for whom, while another command makes it.

    Who gets it looks once more at what is there by now.

    Args:
        cache: the folder of all that is kept.
        folder: one in it, whose two last names no other has.
        what: is made, for messages; unit: what its progress counts.
    """
    with contextlib.ExitStack() as held:
        with show_waiting(what, unit) as waiting:
            mine = held.enter_context(turn(cache.expanduser(), f"{folder.parent.name}-{folder.name}", waiting))
        if mine.waited:
            _refresh_listing(folder.parent, folder)
        yield mine


def _refresh_listing(*folders: Path) -> None:
    """Have a network disk tell what is in folders now: it may go on saying for a minute what was, until something is written."""
    for folder in folders:
        with contextlib.suppress(OSError):
            probe = partial_name(folder / "probe")
            probe.touch()
            probe.unlink()


@contextlib.contextmanager
def workplace(folder: Path) -> Generator[Path]:
    """A new folder inside, of this process alone, for files that are not whole yet; those of processes that are gone are removed.

    Where a disk locks no files, two processes may make the same; neither takes the other one's files away.

    Raises:
        OSError: it cannot be written.
    """
    work = Path(tempfile.mkdtemp(dir=folder, prefix=UNFINISHED))
    try:
        with claim.claimed(work):
            _remove_left(folder, work.stat().st_mtime)
            yield work
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
