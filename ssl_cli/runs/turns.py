"""Work that several processes need at the same time is done by one of them; the others wait and use what it made.

The one that works holds the lock of a folder (`runs/claim.py`), also across machines that share the disk, and notes there in
which run's folder it works, or how much is done. If it dies, the next one takes the lock, and can go on in that folder.
"""

import contextlib
import json
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.runs import claim
from ssl_cli.runs.files import write

FOLDER = ".ssl_cli-turns"  # below the folder that all share; hidden, so that it is no run
NOTE = "works_in.json"
PROGRESS = "progress.json"
LOOK = 0.5  # seconds between looks at whether it is one's turn
LOST = 100  # times that who held it may have just removed the folder
TOLD = 1.0  # seconds between two notes on how much is done, at least


@dataclass(frozen=True)
class Holder:
    """Who does the work: a process and its machine, in which folder, and how much of how much is done; None: it says nothing."""

    process: int
    host: str
    folder: Path | None
    done: int | None
    total: int | None


Waiting = Callable[[Holder], None]


class Turn:
    """The right to do a piece of work, held by this process.

    Args:
        place: the folder of its lock; None where none can be made, so that nobody knows of anybody.
        waited: whether another process did the work before.
    """

    def __init__(self, place: Path | None, waited: bool):
        self._place, self.waited = place, waited
        self._told = 0.0

    def begun_in(self) -> Path | None:
        """The folder in which the work was begun by a process that did not end it; None where nobody has, or it is gone."""
        return None if self._place is None else _noted(self._place)

    def works_in(self, folder: Path) -> None:
        """Tell the others where the work is done."""
        if self._place is not None:
            write(self._place / NOTE, json.dumps(str(folder.absolute())))

    def tell(self, done: int, total: int) -> None:
        """Tell the others how much is done. It may be called often."""
        if self._place is None or time.monotonic() - self._told < TOLD:
            return
        self._told = time.monotonic()
        with contextlib.suppress(OSError):  # they wait without knowing
            write(self._place / PROGRESS, json.dumps([done, total]))

    def done(self) -> None:
        """What was made is there: nobody needs to go on with it."""
        if self._place is not None:
            (self._place / NOTE).unlink(missing_ok=True)


@contextlib.contextmanager
def turn(root: Path, work: str, waiting: Waiting) -> Generator[Turn]:
    """Hold the right to do a piece of work, alone among all processes that share a disk.

    Args:
        root: a folder that all share, such as that of all runs; a hidden one in it holds the locks.
        work: names the work; a hash.
        waiting: is called again and again while another process does it.
    """
    place = root.absolute() / FOLDER / work
    made = [folder for folder in (place, place.parent, root.absolute()) if not folder.exists()]
    with contextlib.ExitStack() as held:
        mine, waited, lost = None, False, 0
        while mine is None:
            try:
                place.mkdir(parents=True, exist_ok=True)
                held.enter_context(claim.claimed(place))
                mine = Turn(place, waited)
            except claim.HeldError as error:
                waited = True
                waiting(_holder(error.holder, place))
                time.sleep(LOOK)
            except OSError as error:
                lost += 1
                if not isinstance(error, FileNotFoundError) or lost > LOST:  # nothing can be written there
                    mine = Turn(None, waited)
        try:
            yield mine
        finally:
            with contextlib.suppress(OSError):
                (place / PROGRESS).unlink()
            held.close()
            for empty in dict.fromkeys((place, place.parent, *made)):
                with contextlib.suppress(OSError):  # another process holds it by now, or somebody is to go on
                    empty.rmdir()


def _holder(said: dict[str, Any], place: Path) -> Holder:
    done = total = None
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError, OverflowError):
        done, total = map(int, json.loads((place / PROGRESS).read_text()))
    return Holder(said.get("pid", 0), str(said.get("host")), _noted(place), done, total)


def _noted(place: Path) -> Path | None:
    try:
        folder = Path(json.loads((place / NOTE).read_text()))
        return folder if folder.is_dir() else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None
