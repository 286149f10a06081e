"""Ctrl-C and SIGTERM while training."""

import contextlib
import logging
import signal
from collections.abc import Generator

from ssl_cli.errors import Interrupted

log = logging.getLogger("ssl_cli")


class Stop:
    """The signal that was received, 0 for none."""

    received = 0


@contextlib.contextmanager
def stop_requests() -> Generator[Stop]:
    """Ctrl-C and SIGTERM wait for the end of the step; a second one does not."""
    stop = Stop()

    def request(number: int, _frame: object) -> None:
        if stop.received:
            raise Interrupted(number)
        stop.received = number
        # It fails where the signal came in the middle of another line, which cannot be interrupted, and where nobody reads any
        # more: Ctrl-C ends the `tee` behind a pipe too.
        with contextlib.suppress(RuntimeError, OSError):
            log.info("Stops after this step, with a checkpoint; a second one stops at once, at the last checkpoint …")

    before = {}
    with contextlib.suppress(ValueError):  # not in the main thread: the program around us deals with signals
        before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
