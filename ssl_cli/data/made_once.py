"""What several commands need at the same time in a cache is made by one of them; the others wait, and read what it made."""

import contextlib
from collections.abc import Generator
from pathlib import Path

from ssl_cli.data.progress import show_waiting
from ssl_cli.runs.files import partial_name
from ssl_cli.runs.turns import Turn, turn


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
