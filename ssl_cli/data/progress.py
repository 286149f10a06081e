"""Bars of work on many inputs, also where another command does it and this one waits."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any

from tqdm import tqdm

from ssl_cli.runs.files import short
from ssl_cli.runs.turns import Holder, Waiting

log = logging.getLogger("ssl_cli")

HEARTBEAT = 60.0  # seconds between lines that say that a command still waits

Done = tuple[int | None, int | None]  # how much of how much; None: it is not known


def show_progress(what: str, unit: str, total: int, shown_from: int, iterable: Iterable[Any] | None = None) -> tqdm:
    """A bar that is gone at the end; in a log file it writes a line every half minute, and none of short work.

    Args:
        what: is done; unit: what is counted; total: how many.
        shown_from: how many take long enough for a bar.
        iterable: of what is counted; None where `update` is called.
    """
    terminal = sys.stderr.isatty()
    return tqdm(
        iterable, what, total, unit=f" {unit}", leave=False, disable=total < shown_from,
        mininterval=0.2 if terminal else 30.0, delay=0 if terminal else 30.0,
    )  # fmt: skip


@contextlib.contextmanager
def show_waiting(
    what: str, unit: str, done_by: Callable[[Holder], Done] = lambda holder: (holder.done, holder.total)
) -> Generator[Waiting]:
    """What to call again and again while another command does the work: it says for whom this one waits, and shows a bar.

    Args:
        what: is waited for; unit: what its progress counts.
        done_by: how much of it the other command has done.
    """
    with contextlib.ExitStack() as bars:
        bar, said = None, 0.0

        def waiting(holder: Holder) -> None:
            nonlocal bar, said
            done, total = done_by(holder)
            if time.monotonic() - said > HEARTBEAT or not said:
                still = "Still waiting" if said else "Waiting"
                log.info("%s for %s, which another command %s", still, what, _described(holder, done, total, unit))
                said = time.monotonic()
            if total and done is not None:
                if bar is None:
                    bar = bars.enter_context(show_progress(f"Waiting for {what}", unit, total, 0))
                bar.total = total  # who takes over from one that died has less to do
                bar.update(done - bar.n)

        yield waiting


def _described(holder: Holder, done: int | None, total: int | None, unit: str) -> str:
    where = "" if holder.folder is None else f" in {short(holder.folder)}"
    how_far = "" if done is None or not total else f": {done:,} of {total:,} {unit}"
    return f"(process {holder.process} on {holder.host}) is making{where}{how_far}."
