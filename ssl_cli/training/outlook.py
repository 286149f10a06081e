"""What a training will take, said before it has taken much: steps and minutes, disk, memory."""

import contextlib
import inspect
import logging
import re
import shutil
import sys
import time
from pathlib import Path

import torch
from torch import nn

from ssl_cli.errors import ConfigError
from ssl_cli.methods.base import Method
from ssl_cli.training.device import Machine
from ssl_cli.training.progress import Clock

log = logging.getLogger("ssl_cli")

SAID_FROM = 60.0  # seconds that a training takes, below which nobody needs to plan
WARM_UP, FEWEST, SECONDS = 3, 5, 3.0  # steps before the measurement; steps and seconds of it, at least
MEANWHILE = 3  # checkpoints on the disk while one is written: the last two, and the new one
COPIES = 3  # of a checkpoint in memory while it is written: as it grows, whole, and with its checksum


class Outlook:
    """What the rest of a training will take, measured in its first steps.

    Args:
        folder: of the run.
        method, optimiser: of the training.
        copies: of the method's weights that a checkpoint has beside them, such as the best ones.
        steps: that are left.
        clock: of the training.
        machine: device and precision.

    Raises:
        ConfigError: the disk has no room for a single checkpoint.
    """

    def __init__(
        self, folder: Path, method: Method, optimiser: torch.optim.Optimizer, copies: int, steps: int, clock: Clock,
        machine: Machine,
    ):  # fmt: skip
        self._clock, self._machine, self._steps, self._taken = clock, machine, steps, 0
        self._said, self._waited, self._began = not steps, 0.0, 0.0
        self._checkpoint = (1 + copies) * _bytes(method) + _state_bytes(optimiser)
        self._weights = _bytes(method.backbone) + sum(map(_bytes, method.saved().values()))
        if steps:
            self._check_disk(folder)

    def after_step(self) -> None:
        """One step more was taken; what all of them will take is said once enough are, if that is long."""
        if self._said:
            return
        self._taken += 1
        began = time.perf_counter()
        self._machine.wait()  # a device works on after the step that the clock has counted
        self._waited += time.perf_counter() - began
        now = self._clock.seconds + self._waited
        if self._taken <= WARM_UP:
            self._began = now
            return
        measured, seconds = self._taken - WARM_UP, now - self._began
        if measured >= FEWEST and seconds >= min(SECONDS, SAID_FROM):
            self._said = True
            left = (self._steps - self._taken) * seconds / measured
            if left >= SAID_FROM:
                self._say(left)

    def _say(self, seconds: float) -> None:
        memory = _peak_memory(self._machine.device)
        log.info(
            "%s steps are left, which take about %s; the run's files about %s (%s meanwhile)%s.",
            f"{self._steps - self._taken:,}", _duration(seconds), _size(self._checkpoint + self._weights),
            _size(MEANWHILE * self._checkpoint), "" if memory is None else f", and {_size(memory)} of memory",
        )  # fmt: skip
        free = _free_memory()
        if free is not None and COPIES * self._checkpoint > free:
            log.warning(
                "Memory may not suffice: writing a checkpoint takes another %s for a moment, and %s are free.",
                _size(COPIES * self._checkpoint), _size(free),
            )  # fmt: skip

    def _check_disk(self, folder: Path) -> None:
        there = sum(path.stat().st_size for path in folder.glob("checkpoint*.pt"))
        free = shutil.disk_usage(folder).free
        if not there and self._checkpoint > free:
            raise ConfigError(
                f"hydra.run.dir={folder}: a checkpoint takes {_size(self._checkpoint)}, and {_size(free)} are free there; "
                "free some space, or choose a folder on another disk"
            )
        needed = max(MEANWHILE * self._checkpoint, self._checkpoint + self._weights) - there
        if needed > free:
            log.warning(
                "The disk may not suffice: checkpoints take up to another %s while one is written, and %s are free in %s.",
                _size(needed), _size(free), folder,
            )  # fmt: skip


def _bytes(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def _state_bytes(optimiser: torch.optim.Optimizer) -> int:
    """What an optimiser keeps of all its parameters, seen from a step on a parameter of its own."""
    one = nn.Parameter(torch.zeros(2))
    one.grad = torch.zeros(2)
    known = inspect.signature(type(optimiser)).parameters
    trial = type(optimiser)([one], **{key: value for key, value in optimiser.defaults.items() if key in known})
    trial.step()
    kept = sum(torch.is_tensor(value) and value.shape == one.shape for value in trial.state[one].values())
    parameters = (parameter for group in optimiser.param_groups for parameter in group["params"])
    return kept * sum(parameter.numel() * parameter.element_size() for parameter in parameters)


def _peak_memory(device: torch.device) -> int | None:
    """Bytes of the device that were taken at most; of main memory by this whole process, with what is imported and the data.

    None where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # on Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _free_memory() -> int | None:
    """Bytes of main memory that programs can still have; None where the system does not tell."""
    with contextlib.suppress(OSError):
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        return None if found is None else int(found[1]) * 1024
    return None


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _size(taken: float) -> str:
    return f"{taken / 1e9:.1f} GB" if taken >= 1e9 else f"{taken / 1e6:.3g} MB"
