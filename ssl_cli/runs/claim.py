"""One process at a time in a run's folder, also where several machines share it.

The process that works in a folder holds `.ssl_cli.lock` there, which says who it is, and touches it every few seconds. Another
process takes the folder over where the holder is gone: on the same machine as soon as no such process lives, on another one,
whose processes cannot be asked for, when the file has not been touched for a minute.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from ssl_cli.errors import ConfigError, TrainingError
from ssl_cli.runs.files import NO_LINKS, partial_name

try:
    import fcntl
except ImportError:  # Windows: two processes that start in the same instant are not told apart there
    fcntl = None

NAME = ".ssl_cli.lock"
BEAT = 5.0  # seconds between signs of life
STALE = 60.0  # seconds without one after which a folder can be taken over

_held: dict[Path, "Claim"] = {}  # by this process


class HeldError(ConfigError):
    """Another process works in the folder: `holder` says which, as its lock does."""

    def __init__(self, problem: str, holder: dict[str, Any] | None = None):
        super().__init__(problem)
        self.holder = holder or {}


@contextlib.contextmanager
def claimed(folder: Path) -> Generator["Claim"]:
    """Hold a folder for this process; it may do so again inside.

    Raises:
        HeldError: another process works there.
    """
    folder = folder.resolve()
    if folder in _held:
        yield _held[folder]
        return
    claim = Claim(folder)
    _held[folder] = claim
    try:
        yield claim
    finally:
        del _held[folder]
        claim.release()


def check_held(folder: Path) -> None:
    """Before a process writes to a folder that it has claimed: is it still its own?

    Raises:
        TrainingError: it stood still for so long that another process took the folder over.
    """
    claim = _held.get(folder.resolve())
    if claim:
        claim.check()


def holder_of(folder: Path) -> dict[str, Any] | None:
    """Who works in a folder, for someone who only looks; None where nobody does. Nothing is written."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY | NO_LINKS | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        holder = _read(descriptor)
        age = time.time() - os.fstat(descriptor).st_mtime
        return holder if holder and _is_alive(holder, age) else None
    except (OSError, RecursionError):
        return None
    finally:
        os.close(descriptor)


class Claim:
    """A folder held by this process, with a thread that shows that it lives."""

    def __init__(self, folder: Path):
        self._path = folder / NAME
        self._who = {
            **_this_process(),
            "token": secrets.token_hex(8),
            "since": datetime.now().isoformat(timespec="seconds"),
        }
        with _locked(self._path) as descriptor:
            holder = _read(descriptor)
            if holder and _is_alive(holder, _age(self._path)):
                raise HeldError(_refusal(holder, self._path), holder)
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, json.dumps(self._who).encode())
            os.fsync(descriptor)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="ssl_cli heartbeat", daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with contextlib.suppress(OSError):  # a network disk that is away for a while: the next beat tries again
                if self._holder() == self._who:
                    os.utime(self._path)

    def _holder(self) -> dict[str, Any] | None:
        try:
            return json.loads(self._path.read_text())
        except (FileNotFoundError, json.JSONDecodeError, RecursionError):
            return None

    def check(self) -> None:
        """Raises TrainingError where another process has taken the folder over."""
        holder = self._holder()
        if holder != self._who:
            why = (
                f"this process stood still for more than {STALE:.0f} s, and process {holder['pid']} on {holder['host']} "
                "goes on with the run"
                if holder
                else f"{NAME} was removed, so that another process may have begun to work there"
            )
            raise TrainingError(f"{self._path.parent}: {why}; nothing was written there since")

    def release(self) -> None:
        """Let others have the folder."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(OSError), _locked(self._path, create=False) as descriptor:
            if _read(descriptor) == self._who:
                self._path.unlink()


@contextlib.contextmanager
def _locked(path: Path, create: bool = True) -> Generator[int]:
    """The lock file, open, while no other process reads or changes it."""
    flags = os.O_RDWR | NO_LINKS | (os.O_CREAT if create else 0)
    while True:
        try:
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            if path.is_symlink():
                raise ConfigError(f"{path}: is a link; a run writes only to files of its own") from error
            raise
        try:
            with contextlib.suppress(OSError):  # a file system without locks: the heartbeat is what is left
                if fcntl:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_same_file(path, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _is_same_file(path: Path, descriptor: int) -> bool:
    """Whether the file that was opened is still the one of that name."""
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read(descriptor: int) -> dict[str, Any] | None:
    """Who holds the folder; None where nobody does, or what stands there is no longer to be read."""
    try:
        holder = json.loads(os.read(descriptor, 4096))
    except (ValueError, RecursionError):
        return None
    found = cast(dict[str, Any], holder) if isinstance(holder, dict) else {}
    return found if isinstance(found.get("pid"), int) else None


def _is_alive(holder: dict[str, Any], age: float) -> bool:
    if abs(age) > STALE:
        return False
    here = _this_process()
    if (holder.get("host"), holder.get("boot")) != (here["host"], here["boot"]):
        return True  # a process number proves nothing on another machine
    return _knows(holder["pid"]) and _started(holder["pid"]) == holder.get("started")


def _knows(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    return True


def _this_process() -> dict[str, Any]:
    """Names this process, also beside one of the same number on a machine of the same name, or before a restart."""
    boot = ""
    with contextlib.suppress(OSError):
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  a container counts processes on its own
        boot = f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{space}"
    return {"host": socket.gethostname(), "boot": boot, "pid": os.getpid(), "started": _started(os.getpid())}


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's clock; None where that is not told, or it has ended and waits to be buried."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _age(path: Path) -> float:
    """Seconds since the last sign of life, by the clock of the disk: machines' own clocks differ."""
    probe = partial_name(path)
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINKS, 0o666)
    try:
        return os.fstat(descriptor).st_mtime - path.stat().st_mtime
    finally:
        os.close(descriptor)
        probe.unlink()


def _refusal(holder: dict[str, Any], path: Path) -> str:
    age = max(0.0, _age(path))
    return (
        f"{path.parent}: process {holder['pid']} on {holder.get('host')} works there since {holder.get('since')} (last sign of "
        f"life {age:.0f} s ago); wait for it or end it. If it is gone, try again in {max(1.0, STALE - age):.0f} s"
    )
