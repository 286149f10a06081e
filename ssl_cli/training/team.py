"""The processes of a training as the one sees them that leads: their start, their steps, their end."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator

import torch
import torch.distributed as dist
from torch import Tensor

from ssl_cli import processes
from ssl_cli.cores import cores
from ssl_cli.errors import ProcessLostError
from ssl_cli.training import launch
from ssl_cli.training.messages import BEGIN, DONE, LEAVE, PATIENCE, join, say, say_content, says_gone
from ssl_cli.training.step import Steps

log = logging.getLogger("ssl_cli")

GRACE = 10.0  # seconds to end in
START = (
    "import json, sys; told = json.loads(sys.argv[1]); sys.path[:] = told.pop('path'); "
    "from ssl_cli.training.follow import main; main(**told)"
)


class Team:
    """All processes, as the leader sees them: started here, or launched together with it, which it has met already.

    Args:
        count: how many there are.
        device: of this one.
    """

    def __init__(self, count: int, device: torch.device):
        self.count = count
        self._busy = False  # taking a step, in which all wait for all
        self.ended = False
        self._others: list[subprocess.Popen[bytes]] = []
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if launch.launched():
            if not dist.is_initialized():  # a training before this one was left in the middle of a step
                raise ProcessLostError("the processes that were launched together with this one are gone")
            return
        few = f", on {cores()} cores: they take turns, and more than {cores()} gain nothing" if count > cores() else ""
        log.info("Starting %s processes that train together%s.", self.count, few if device.type == "cpu" else "")
        if sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a machine's own name may lead nowhere
        self._store = dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage]  # it has no other name
            "127.0.0.1", 0, self.count, True, PATIENCE, wait_for_workers=False
        )
        try:
            self._others = [self._start(rank, device.type == "cuda") for rank in range(1, count)]
            self._wait_until_ready()
            join(self._store, 0, count, device.type == "cuda")
        except BaseException:
            self.end()
            raise
        threading.Thread(target=self._watch, name="ssl_cli processes", daemon=True).start()

    def _start(self, rank: int, on_gpus: bool) -> "subprocess.Popen[bytes]":
        told = {"path": sys.path, "port": self._store.port, "rank": rank, "count": self.count, "on_gpus": on_gpus}
        quiet = {"TQDM_DISABLE": "1"}
        # Its input ends with this process, whatever ends that; a group of its own, since Ctrl-C is for the leader.
        return subprocess.Popen(
            [sys.executable, "-c", START, json.dumps(told)], stdin=subprocess.PIPE, env={**os.environ, **quiet},
            process_group=0,
        )  # fmt: skip

    def _wait_until_ready(self) -> None:
        for rank in range(1, self.count):
            while not self._store.check([f"ready/{rank}"]):
                if (said := self._why_gone()) is not None:
                    raise ProcessLostError(said)
                time.sleep(0.02)

    @contextlib.contextmanager
    def training(self, content: bytes) -> Generator[None]:
        """All others take part in a training, from the first step to the last that is asked of them."""
        with self._explained():
            say(BEGIN)
            say_content(content)
        try:
            yield
        finally:
            if not self._busy:
                with self._explained():
                    say(DONE)
            else:
                self.end()

    def take(self, steps: Steps, step: int) -> dict[str, Tensor]:
        """A step in all processes.

        Raises:
            ProcessLostError: another one failed.
        """
        self._busy = True
        with self._explained():
            say(step)
            with processes.together(0, self.count):
                numbers = steps.take(step)
        self._busy = False
        return numbers

    @contextlib.contextmanager
    def _explained(self) -> Generator[None]:
        """What fails here because another process is gone says so."""
        try:
            yield
        except RuntimeError as error:
            self._busy = True
            if not says_gone(error):
                raise
            deadline = time.monotonic() + GRACE / 2
            while (said := self._why_gone()) is None and time.monotonic() < deadline and self._others:
                time.sleep(0.05)
            raise ProcessLostError(said or f"another process is gone ({str(error).splitlines()[0]})") from error

    def _why_gone(self) -> str | None:
        """What ended one of the others, in a sentence; None where all live."""
        for rank, process in enumerate(self._others, start=1):
            code = process.poll()
            if code is None:
                continue
            one = f"process {rank + 1} of {self.count}"
            if self._store.check([f"failed/{rank}"]):
                return f"{one} failed: {self._store.get(f'failed/{rank}').decode()}"
            name = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
            return f"{one} ended by {name}, so the training cannot go on"
        return None

    def _watch(self) -> None:
        """End this process where another one is gone and a device waits for it forever."""
        said = None
        while not self.ended and (said := self._why_gone()) is None:
            time.sleep(1.0)
        waited = 0.0
        while not self.ended and waited < 3 * GRACE:
            time.sleep(1.0)
            waited = waited + 1.0 if self._busy else 0.0
        if not self.ended:
            print(f"ssl-cli: {said}", file=sys.stderr, flush=True)
            os._exit(1)

    def end(self) -> None:
        """Let the others end: at once if they wait for steps, by force if they wait for this process."""
        self.ended = True
        if dist.is_initialized() and not self._busy:
            with contextlib.suppress(RuntimeError):
                say(LEAVE)
        deadline = time.monotonic() + (0 if self._busy else GRACE)
        for process in self._others:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()
        if dist.is_initialized():
            dist.destroy_process_group()
