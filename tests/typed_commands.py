"""Many commands in little time: a process that has loaded the program once, and is copied for each command.

Each command has a process of its own, its own output and exit code, as if it had been typed; only loading is not repeated.
"""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple


class Typed(NamedTuple):
    """What a command ended with; `code` is None where it did not end in time."""

    code: int | None
    said: str


class Commands:
    """Commands typed into one process after the other."""

    def __init__(self, process: subprocess.Popen[str]):
        self._process = process

    def __call__(self, folder: Path, *words: str, limit: float = 60.0, alone: bool = False, **faults: Any) -> Typed:
        """Type a command.

        Args:
            folder: where it is typed.
            words: of the command.
            limit: seconds after which it is killed.
            alone: those that it has started are not killed with it.
            faults: `stop_after=N` steps by Ctrl-C; `memory=BYTES` of addresses more than are taken already;
                `draws=False`: no picture can be drawn.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        said = folder.parent / f".said-{os.getpid()}"
        said.touch()  # it may be ended before it has opened it
        asked = {
            "folder": str(folder),
            "words": words,
            "said": str(said),
            "limit": limit,
            "alone": alone,
            "faults": faults,
        }
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        code = json.loads(self._process.stdout.readline())
        text = said.read_text(errors="replace")
        said.unlink()
        return Typed(code, text)


@contextlib.contextmanager
def commands() -> Generator[Commands]:
    """The process that is copied."""
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:  # fmt: skip
        yield Commands(process)
        assert process.stdin is not None
        process.stdin.close()


def serve() -> None:
    """Carry out what is asked for, one line each."""
    import matplotlib.figure  # noqa: F401  all that commands load
    import torch._dynamo
    import torchvision  # noqa: F401

    import ssl_cli.stages.compare
    import ssl_cli.stages.evaluate
    import ssl_cli.stages.predict  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        print(json.dumps(_carried_out(**json.loads(line))), flush=True)


def _carried_out(
    folder: str, words: list[str], said: str, limit: float, alone: bool, faults: dict[str, Any]
) -> int | None:
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            code = _type(folder, words, said, **faults)
        except BaseException:
            traceback.print_exc()
            code = 99
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    if not alone:
        with contextlib.suppress(ProcessLookupError):  # it is too young to lead a group
            os.killpg(child, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _type(
    folder: str,
    words: list[str],
    said: str,
    stop_after: int | None = None,
    memory: int | None = None,
    draws: bool = True,
) -> int:
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.chdir(folder)
    sys.argv = ["ssl-cli", *words]
    if stop_after is not None:
        _stop_after(stop_after)
    if memory is not None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))
    if not draws:
        _break_pens()
    from ssl_cli.cli.main import main

    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _break_pens() -> None:
    from matplotlib.figure import Figure
    from PIL import ImageDraw

    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("no such glyph")

    Figure.savefig = ImageDraw.Draw = broken


def _stop_after(steps: int) -> None:
    from ssl_cli.training import step as one_step

    take, taken = one_step.take_step, []

    def counted(*everything: Any) -> Any:
        taken.append(None)
        if len(taken) == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return take(*everything)

    one_step.take_step = counted


if __name__ == "__main__":
    serve()
