"""A process that takes steps of trainings that another one leads, until that one lets it go or is gone."""

import os
import signal
import sys
import threading
import traceback
from dataclasses import replace

import torch
import torch.distributed as dist

from ssl_cli import processes
from ssl_cli.models.batch_norm import shared_batch_norm
from ssl_cli.training import launch
from ssl_cli.training.device import Machine, prepare_process
from ssl_cli.training.distributed import shared
from ssl_cli.training.interruption import handled
from ssl_cli.training.memory import KeptMemory, is_out_of_memory
from ssl_cli.training.messages import BEGIN, DONE, LEAVE, PATIENCE, hear, hear_content, join, meet, says_gone
from ssl_cli.training.parcel import unpacked
from ssl_cli.training.progress import Clock
from ssl_cli.training.step import Steps

STEPS_BETWEEN_LOOKS = 200  # at the memory that the process has; the leader looks at its checkpoints


def main(port: int, rank: int, count: int, on_gpus: bool) -> None:
    """Follow the process that has started this one, and end with it.

    Args:
        port: where it waits.
        rank: of this process.
        count: of all processes.
        on_gpus: whether each computes on one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_input, daemon=True).start()
    store = dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage]  # it has no other name
        "127.0.0.1", port, count, False, PATIENCE, wait_for_workers=False
    )
    store.set(f"ready/{rank}", "")
    try:
        join(store, rank, count, on_gpus)
        _follow(rank, count, rank)
        os._exit(0)  # a thread waits for the input to end
    except Exception as error:
        if not says_gone(error):
            store.set(f"failed/{rank}", _sentence(error))
        os._exit(1)  # whatever threads of libraries still wait for


def follow_launched() -> bool:
    """Follow the process of rank 0 that was launched with this one.

    Returns: whether it let this one go; it says why where it did not.

    Raises:
        ConfigError: they do not find each other.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    meet()
    try:
        _follow(launch.rank(), launch.launched(), launch.gpu(torch.cuda.device_count()))
    except RuntimeError as error:
        if not says_gone(error):
            raise
        return False
    return True


def _follow(rank: int, count: int, gpu: int) -> None:
    while (heard := hear()) != LEAVE:
        if heard == BEGIN:
            _take_part(hear_content(), rank, count, gpu)
    dist.destroy_process_group()


def _take_part(content: bytes, rank: int, count: int, gpu: int) -> None:
    """Take part in one training."""
    parcel = unpacked(content)
    here = _own_machine(parcel.recipe.machine, gpu)
    if here.device.type == "cuda":
        torch.cuda.set_device(here.device)
    prepare_process(here)
    recipe = replace(parcel.recipe, method=here.place(parcel.recipe.method), machine=here)
    steps = Steps(recipe, Clock({}))
    steps.optimiser.load_state_dict(parcel.optimiser)
    steps.scaler.load_state_dict(parcel.scaler)
    recipe.method.train()
    kept_memory = KeptMemory()
    # SIGTERM is sent to all processes at once, and the one that leads still saves what they have done.
    with shared_batch_norm(recipe.method), shared(steps), handled(signal.SIG_IGN, signal.SIGTERM):
        while (step := hear()) != DONE:
            with processes.together(rank, count):
                steps.take(step)
            if step % STEPS_BETWEEN_LOOKS == 0:
                kept_memory.check()


def _own_machine(machine: Machine, gpu: int) -> Machine:
    """What the leader's machine means in this process: the same, with a GPU of its own."""
    return replace(machine, device=torch.device("cuda", gpu)) if machine.device.type == "cuda" else machine


def _end_with_input() -> None:
    """The input of this process is held open by the one that started it, and ends with that."""
    sys.stdin.buffer.read()
    os._exit(1)


def _sentence(error: Exception) -> str:
    if is_out_of_memory(error):
        return f"memory is full ({str(error).splitlines()[0]}); lower the batch size, or take fewer processes"
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({where.filename}, line {where.lineno})"
