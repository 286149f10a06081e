"""Parts of a cache decoded in several processes: threads would wait for Python's lock between the steps of each image.

The processes are started as programs of their own. Those of `multiprocessing` would import a person's script once more, or be
copies of a process in which PyTorch has threads.
"""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Lock
from typing import IO, Any, cast

from ssl_cli.cores import cores
from ssl_cli.data.images.part import Decoded, Part, decode_part
from ssl_cli.errors import ConfigError

MOST = 16  # processes
WORTH = 150  # images for each process, below which it takes longer to start than to decode them here
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from ssl_cli.data.images.worker import main; main()"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class _DiedError(Exception):
    """A process ended without an answer, so many files of its part being done."""

    def __init__(self, done: int):
        self.done = done


def processes_for(count: int) -> int:
    """In how many processes so many images are decoded; 1 is this one."""
    return max(1, min(cores(), MOST, count // WORTH))


def decode_parts(
    parts: Sequence[Part], processes: int, count: Callable[[int], object]
) -> Generator[tuple[Part, list[Decoded]]]:
    """Each part, once it is written, with what its files gave.

    Args:
        parts: which files, and where they are written.
        processes: that work at once; with 1, this one does.
        count: is told how many files more are done.

    Raises:
        ConfigError: a file ends the process that decodes it.
        OSError: a part cannot be written.
    """
    if processes == 1:
        for part in parts:
            yield part, decode_part(part, lambda done: count(1))
        return
    lock, free = Lock(), SimpleQueue[_Worker]()
    workers = [_Worker() for _ in range(processes)]
    for worker in workers:
        free.put(worker)

    def decode(part: Part) -> list[Decoded]:
        worker, seen = free.get(), 0

        def advance(done: int) -> None:
            nonlocal seen
            with lock:
                count(max(done - seen, 0))
            seen = max(done, seen)

        try:
            return _decode_in(worker, part, advance)
        finally:
            free.put(worker)

    pool = ThreadPoolExecutor(processes)
    try:
        yield from zip(parts, pool.map(decode, parts), strict=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.stop()
        pool.shutdown()
        for worker in workers:
            worker.wait()


def _decode_in(worker: "_Worker", part: Part, advance: Callable[[int], None]) -> list[Decoded]:
    """Decode a part, once more where its process ends: another time it may not, and else the file is known that ends it."""
    if not worker.is_ready() and not worker.stopped:  # this Python starts no other one
        return decode_part(part, advance)
    try:
        return worker.decode(part, False, advance)
    except _DiedError:
        if worker.stopped:
            raise
    worker.wait()
    worker.start()
    try:
        return worker.decode(part, True, advance)
    except _DiedError as died:
        path = part.items[min(died.done, len(part.items) - 1)].path
        raise ConfigError(
            f"dataset.root={part.root}: {path} ends the process that decodes it ({worker.why()}); repair or remove it"
        ) from died


class _Worker:
    """A process, and the messages to and from it."""

    def __init__(self):
        self._lock, self.stopped = Lock(), False
        self.start()

    def start(self) -> None:
        """Start the process, in place of one that has ended."""
        with self._lock:
            if not self.stopped:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", START, json.dumps(sys.path)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **ONE_THREAD},
                )  # fmt: skip
                self._asked = cast(IO[bytes], self._process.stdin)
                self._answers = cast(IO[bytes], self._process.stdout)
                self._ready: bool | None = None

    def is_ready(self) -> bool:
        """Whether the process has started."""
        if self._ready is None:
            self._ready = self._answer() is not None
        return self._ready

    def decode(self, part: Part, careful: bool, advance: Callable[[int], None]) -> list[Decoded]:
        """What the files of a part gave.

        Args:
            part: which files.
            careful: whether each file that is done is said at once.
            advance: is told how many of the part are done.

        Raises:
            OSError: the part cannot be written.
        """
        done = 0
        if self.is_ready() and self._send((part, careful)):
            while (answer := self._answer()) is not None:
                kind, value = answer
                if kind == "failed":
                    raise value
                done = len(part.items) if kind == "found" else value
                advance(done)
                if kind == "found":
                    return value
        raise _DiedError(done)

    def why(self) -> str:
        """What the process ended with."""
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name
        return f"{name}, as where memory is short" if name == "SIGKILL" else name

    def stop(self) -> None:
        """Stop the process, whatever it is doing."""
        with self._lock:
            self.stopped = True
            self._process.terminate()

    def wait(self) -> None:
        """Wait for the end of the process, once no thread waits for its answers."""
        self._process.wait()
        for pipe in (self._asked, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()

    def _send(self, message: tuple[Part, bool]) -> bool:
        """Whether the process is there to hear a message."""
        try:
            pickle.dump(message, self._asked)
            self._asked.flush()
        except OSError:
            return False
        return True

    def _answer(self) -> tuple[str, Any] | None:
        """The next answer; None where the process has ended."""
        try:
            return pickle.load(self._answers)
        except (EOFError, pickle.UnpicklingError):
            return None
