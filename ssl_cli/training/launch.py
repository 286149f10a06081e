"""What a process is told by whoever has launched it together with others. Does not import PyTorch.

`torchrun` tells it by RANK, WORLD_SIZE and the like, and so may any other program; what Slurm's `srun` says is translated.
"""

import contextlib
import os
import socket
import time

from ssl_cli.errors import ConfigError
from ssl_cli.training import slurm

NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")  # where WORLD_SIZE is more than 1
PATIENCE = "SSL_CLI_MEETING_SECONDS"  # how long processes that were launched together wait for each other
LONGEST = 30 * 24 * 3600


def listen_to_slurm() -> None:
    """Where `srun` has started this process with others, and nobody says more, they are launched together."""
    if "WORLD_SIZE" in os.environ or slurm.typed_into_a_task() or slurm.is_below_batch_script():
        return
    os.environ.update(slurm.as_torchrun(os.environ))


def launched() -> int:
    """How many processes were launched together; 0 where this one was started alone.

    Raises:
        ConfigError: what this process was told of them cannot be.
    """
    count = _number("WORLD_SIZE", 1) if "WORLD_SIZE" in os.environ else 1
    if count == 1:
        return 0
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE={count}: {' and '.join(missing)} must be set too, so that {count} processes find each other; "
            "let torchrun or srun start them, or unset WORLD_SIZE"
        )
    if (own := _number("RANK", 0)) >= count:
        raise ConfigError(f"RANK={own}: must be less than WORLD_SIZE={count}; processes are counted from 0")
    if (port := _number("MASTER_PORT", 1)) > 65535:
        raise ConfigError(f"MASTER_PORT={port}: must be 65535 or less")
    return count


def rank() -> int:
    """Which of them this one is, counted from 0."""
    return int(os.environ["RANK"]) if launched() else 0


def local_rank() -> int:
    """Which of those on this machine it is, counted from 0."""
    return _number("LOCAL_RANK", 0, 0) if launched() else 0


def processes_here(count: int) -> int:
    """How many of `count` processes are on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1, count) if launched() else count


def gpu(seen: int) -> int:
    """Which of the GPUs that this process sees is its own; Slurm may show it none but that, or those of its socket."""
    return local_rank() % max(1, seen)


def has_gpu_of_its_own() -> bool:
    """Whether each process on a machine sees other GPUs."""
    return bool(launched()) and any(os.environ.get(name) for name in slurm.OWN_GPUS)


def patience() -> int:
    """Seconds for which processes that were launched together wait for each other at the beginning."""
    seconds = _number(PATIENCE, 1, 600)
    if seconds > LONGEST:
        raise ConfigError(f"{PATIENCE}={seconds}: must be {LONGEST} (30 days) or less")
    return seconds


def reach_first() -> None:
    """Wait until the first of the processes can be reached, which PyTorch does too, but with pages of C++ where it cannot.

    Raises:
        ConfigError: it cannot for so long as processes wait for each other.
    """
    place, wait = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), patience()
    deadline, why = time.monotonic() + wait, "timed out"
    while (left := deadline - time.monotonic()) > 0:
        try:
            with contextlib.closing(socket.create_connection(place, left)):
                return
        except OSError as error:
            why = error.strerror or str(error)
        time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))
    raise ConfigError(not_met(why))


def not_met(why: str) -> str:
    """The sentence for processes that do not find each other."""
    place = f"MASTER_ADDR={os.environ['MASTER_ADDR']} MASTER_PORT={os.environ['MASTER_PORT']}"
    return (
        f"{place}: process {rank() + 1} of {launched()} did not meet the others there within {patience()} s ({why}); see that "
        f"all are started and reach that address, or set {PATIENCE} to more seconds"
    )


def _number(name: str, least: int, unset: int | None = None) -> int:
    said = os.environ.get(name, "" if unset is None else str(unset))
    if not (said.isascii() and said.isdecimal() and int(said) >= least):
        raise ConfigError(f"{name}={said}: must be a whole number, {least} or more")
    return int(said)
