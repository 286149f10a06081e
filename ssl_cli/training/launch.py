"""What `torchrun` tells a process of those that it has launched together. Does not import PyTorch."""

import os

TOLD = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def launched() -> int:
    """How many processes were launched together; 0 where this one was started alone."""
    if any(name not in os.environ for name in TOLD):
        return 0
    count = int(os.environ["WORLD_SIZE"])
    return count if count > 1 else 0


def rank() -> int:
    """Which of them this one is, counted from 0."""
    return int(os.environ["RANK"]) if launched() else 0


def local_rank() -> int:
    """Which of those on this machine it is, counted from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if launched() else 0


def processes_here(count: int) -> int:
    """How many of `count` processes are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", count)) if launched() else count
