"""Ctrl-C and SIGTERM while training."""

import contextlib
import logging
import signal
from collections.abc import Callable, Generator
from typing import Any

from ssl_cli.errors import Interrupted

log = logging.getLogger("ssl_cli")


@contextlib.contextmanager
def handled(handler: "Callable[[int, Any], None] | signal.Handlers", *numbers: int) -> Generator[None]:
    """Meanwhile signals have this handler; outside of the main thread, that of the program around us."""
    before = {}
    with contextlib.suppress(ValueError):
        before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


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

    with handled(request, signal.SIGINT, signal.SIGTERM):
        yield stop
