"""What processes that train together say to each other: the leader speaks, all others hear."""

import shlex
import sys
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from ssl_cli.errors import ConfigError
from ssl_cli.training import launch

BEGIN, DONE, LEAVE = -1, -2, -3  # what the leader says beside the numbers of steps
PATIENCE = timedelta(days=30)  # the leader may evaluate for long; who is gone is noticed by its broken connection


def there_are_gpus() -> bool:
    """Whether processes that were launched together may have to exchange what is on GPUs."""
    return torch.cuda.is_available()


def join(store: Any, rank: int, count: int, on_gpus: bool, patience: timedelta = PATIENCE) -> None:
    """Be one of `count` processes that talk to each other, once all have come.

    Args:
        store: where they meet; None for where the environment says.
        rank: of this process.
        count: of processes.
        on_gpus: whether they exchange what is on GPUs, and not only in main memory.
        patience: how long they wait for each other.
    """
    backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=patience)
    if patience != PATIENCE:
        set_timeout = getattr(dist, "set_timeout", None) or dist.distributed_c10d._set_pg_timeout
        set_timeout(PATIENCE)


def meet() -> None:
    """Join those that were launched together with this process.

    Raises:
        ConfigError: they do not find each other in time, or were given other words.
    """
    rank, patience = launch.rank(), timedelta(seconds=launch.patience())
    if rank:
        launch.reach_first()
    try:
        join(None, rank, launch.launched(), there_are_gpus(), patience)
    except RuntimeError as error:
        raise ConfigError(launch.not_met(str(error).splitlines()[0].rstrip("."))) from error
    _check_same_words()


def _check_same_words() -> None:
    """Only the first one's words are obeyed: others, such as a seed for each process, would be ignored in silence."""
    words: list[list[str]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(words, sys.argv[1:])
    for rank, theirs in enumerate(words):
        if theirs != words[0]:
            dist.destroy_process_group()  # whose threads would abort a process when the other one's end first
            raise ConfigError(
                f"process {rank} of those launched together was given other words ({shlex.join(theirs)}) than the first one "
                f"({shlex.join(words[0])}), and together they are one training; give all the same ones, or set WORLD_SIZE=1 "
                "for commands of their own"
            )


def say(message: int) -> None:
    """Of the leader: a step's number, or what comes."""
    dist.broadcast(torch.tensor([message]), 0)


def hear() -> int:
    """What the leader says next."""
    heard = torch.zeros(1, dtype=torch.int64)
    dist.broadcast(heard, 0)
    return int(heard)


def say_content(content: bytes) -> None:
    """Of the leader: bytes of any number."""
    say(len(content))
    dist.broadcast(torch.frombuffer(bytearray(content), dtype=torch.uint8), 0)


def hear_content() -> bytes:
    """The bytes that the leader says next."""
    heard = torch.empty(hear(), dtype=torch.uint8)
    dist.broadcast(heard, 0)
    return heard.numpy().tobytes()


def says_gone(error: BaseException) -> bool:
    """Whether an error says that another process does not answer."""
    said = ("gloo", "nccl", "connection", "broken pipe")
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in said)
    )
