"""Work that several processes need at the same time is done by one of them; the others wait and use what it made.

The one that works holds the lock of a folder (`runs/claim.py`), also across machines that share the disk, and notes there in
which run's folder it works. If it dies, the next one takes the lock, and can go on in that folder.
"""

import contextlib
import json
import time
from collections.abc import Callable, Generator
from pathlib import Path

from ssl_cli.runs import claim
from ssl_cli.runs.files import write

FOLDER = ".ssl_cli-turns"  # below the folder of all runs; hidden, so that it is no run
NOTE = "works_in.json"
LOOK = 0.5  # seconds between looks at whether it is one's turn

Waiting = Callable[[Path | None], None]


class Turn:
    """The right to do a piece of work, held by this process.

    Args:
        place: the folder of its lock; None where none can be made, so that nobody knows of anybody.
    """

    def __init__(self, place: Path | None):
        self._place = place

    def begun_in(self) -> Path | None:
        """The folder in which the work was begun by a process that did not end it; None where nobody has, or it is gone."""
        return None if self._place is None else _noted(self._place)

    def works_in(self, folder: Path) -> None:
        """Tell the others where the work is done."""
        if self._place is not None:
            write(self._place / NOTE, json.dumps(str(folder.absolute())))

    def done(self) -> None:
        """What was made is there: nobody needs to go on with it."""
        if self._place is not None:
            (self._place / NOTE).unlink(missing_ok=True)


@contextlib.contextmanager
def turn(root: Path, work: str, waiting: Waiting) -> Generator[Turn]:
    """Hold the right to do a piece of work, alone among all processes that share a disk.

    Args:
        root: the folder of all runs; a hidden one in it holds the locks.
        work: names the work; a hash.
        waiting: is called again and again while another process does it, with the folder it works in where that is known.
    """
    place = root.absolute() / FOLDER / work
    made = [folder for folder in (place, place.parent, root.absolute()) if not folder.exists()]
    with contextlib.ExitStack() as held:
        mine = None
        while mine is None:
            try:
                place.mkdir(parents=True, exist_ok=True)
                held.enter_context(claim.claimed(place))
                mine = Turn(place)
            except claim.HeldError:
                waiting(_noted(place))
                time.sleep(LOOK)
            except FileNotFoundError:  # who held it has just removed the folder
                continue
            except OSError:  # nothing can be written there
                mine = Turn(None)
        try:
            yield mine
        finally:
            held.close()
            for empty in dict.fromkeys((place, place.parent, *made)):
                with contextlib.suppress(OSError):  # another process holds it by now, or somebody is to go on
                    empty.rmdir()


def _noted(place: Path) -> Path | None:
    try:
        folder = Path(json.loads((place / NOTE).read_text()))
        return folder if folder.is_dir() else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None
