"""A process that decodes parts of a cache, for `workers.py`, until its input ends.

It imports little, so that it starts in a tenth of a second. Messages are pickled: a part comes in; how many of its files
are done, and at last what they gave, go out.
"""

import contextlib
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from ssl_cli.data.images.part import Part, decode_part

EVERY = 0.1  # seconds between two messages on how many files are done


def main() -> None:
    """Decode what comes in, answer, and end with the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal; who started this process ends it
    with contextlib.suppress(BrokenPipeError, EOFError), os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a decoder prints is no answer

        def answer(*message: Any) -> None:
            pickle.dump(message, answers)
            answers.flush()

        answer("ready", None)
        while True:
            part, careful = pickle.load(sys.stdin.buffer)
            _decode(part, careful, answer)


def _decode(part: Part, careful: bool, answer: Callable[..., None]) -> None:
    """Decode a part, and say how many of its files are done: each at once if `careful`, else now and then."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that a file that is half written is removed
    said = time.monotonic()

    def count(done: int) -> None:
        nonlocal said
        if careful or time.monotonic() - said >= EVERY:
            said = time.monotonic()
            answer("done", done)

    try:
        found = decode_part(part, count)
    except BrokenPipeError:
        raise
    except OSError as error:
        answer("failed", error)
    else:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # now there is none, and this is the faster end
        answer("found", found)
