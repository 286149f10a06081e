"""The machine: which device and precision, decided once, printed and saved."""

import json
import os
import platform
import re
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ssl_cli.config.build import plain
from ssl_cli.config.schema import Runtime
from ssl_cli.config.typecheck import anything, typed
from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import write
from ssl_cli.runs.own import damaged, own_object
from ssl_cli.runs.run import MACHINE, Run
from ssl_cli.training import launch
from ssl_cli.training.memory import keep_freed_memory
from ssl_cli.training.threads import own_threads

_Module = TypeVar("_Module", bound=nn.Module)
DEVICES = r"(cpu|cuda|mps|xpu)(:\d{1,4})?"
REDUCED = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Machine:
    """What `runtime` came to on this machine."""

    device: torch.device
    precision: str
    threads: int
    channels_last: bool
    compile: bool | str
    checkpoint_seconds: float
    processes: int = 1  # that train together

    def autocast(self) -> AbstractContextManager:
        """Forward passes in the chosen precision; weights and losses stay float32."""
        reduced = REDUCED.get(self.precision)
        return torch.autocast(self.device.type, reduced or torch.bfloat16, enabled=reduced is not None)

    def scaler(self) -> torch.amp.GradScaler:
        """Keeps gradients of float16 from vanishing; does nothing in other precisions."""
        return torch.amp.GradScaler(self.device.type, init_scale=1024.0, enabled=self.precision == "float16")

    def wait(self) -> None:
        """Until the device has done all it was given; for timing."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def place(self, module: _Module) -> _Module:
        """A module on the device, in the memory layout of the inputs."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return module.to(self.device, memory_format=layout)  # pyright: ignore[reportCallIssue]  # missing in torch's stubs

    def layout(self, inputs: Any) -> Any:
        """Images in the memory layout of the weights; other inputs as they are."""
        is_image = isinstance(inputs, Tensor) and inputs.ndim == 4 and self.channels_last
        return inputs.contiguous(memory_format=torch.channels_last) if is_image else inputs

    def described(self) -> str:
        """For the first line of a run."""
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.device.type == "cpu" else ""
        together = f"{self.processes} processes, each with " if self.processes > 1 else ""
        return f"{together}{self.device}, {self.precision}{threads}"

    def environment(self) -> dict[str, object]:
        """For the record of a run."""
        import torchvision

        from ssl_cli import __version__

        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else _processor()
        return {
            **asdict(self),
            "device": str(self.device),
            "processor": name,
            "cores": os.cpu_count(),
            "ssl_cli": __version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "python": platform.python_version(),
            "system": platform.platform(),
        }


def machine(runtime: Runtime) -> Machine:
    """What the settings mean here.

    Raises:
        ConfigError: the device is not there.
    """
    device = _present(runtime.device)
    count = processes_of(runtime)
    if count > 1 and device.type == "cuda":
        device = torch.device("cuda", launch.gpu(torch.cuda.device_count()))
    shares = 1 if launch.launched() else count  # who launches processes tells each its own number of threads
    threads = max(1, own_threads() // shares) if runtime.threads == "auto" else runtime.threads
    precision = _precision_on(device, runtime)
    channels_last = device.type != "mps" if runtime.channels_last == "auto" else runtime.channels_last
    found = Machine(device, precision, threads, channels_last, runtime.compile, runtime.checkpoint_seconds, count)
    prepare_process(found)
    return found


def processes_of(runtime: Runtime) -> int:
    """How many processes train together: as many as were launched, else those of the settings; `auto` is one for each GPU.

    Raises:
        ConfigError: they are others than were launched, or more than there are GPUs, or the device takes one alone.
    """
    asked, launched = runtime.processes, launch.launched()
    device = _named(runtime.device)
    if launched and asked not in ("auto", launched):
        raise ConfigError(
            f"runtime.processes={asked}: {launched} were launched together; leave it out, or launch as many"
        )
    gpus = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
    count = launched or (max(1, gpus) if asked == "auto" else asked)
    if count == 1 or device.type == "cpu":
        return count
    if device.type != "cuda" or device.index is not None:
        only = "one GPU" if device.type == "cuda" else "processors and NVIDIA GPUs share work"
        raise ConfigError(
            f"runtime.processes={count}: runtime.device={device}: {only}; take runtime.device=cuda, or cpu"
        )
    if launch.processes_here(count) > gpus and not launch.has_gpu_of_its_own():
        raise ConfigError(
            f"runtime.processes={count}: there are {gpus} GPUs on this machine; at most one process for each"
        )
    return count


def precision_of(runtime: Runtime) -> str:
    """The precision in which a run with these settings would compute here.

    Raises:
        ConfigError: the device is not there.
    """
    return _precision_on(_present(runtime.device), runtime)


def _precision_on(device: torch.device, runtime: Runtime) -> str:
    return _best_precision(device) if runtime.precision == "auto" else runtime.precision


def borrowed(device: str = "auto") -> Machine:
    """A device within somebody else's process, whose threads and memory stay as they are; in float32.

    Raises:
        ConfigError: the device is not there.
    """
    chosen = _present(device)
    return Machine(chosen, "float32", torch.get_num_threads(), channels_last=chosen.type != "mps", compile=False,
                   checkpoint_seconds=0.0)  # fmt: skip


def machine_of(run: Run, runtime: Runtime) -> Machine:
    """What the run's settings mean here, decided when it began and kept: a resumed run computes as it did before.

    Raises:
        ConfigError: the device is not there (any more).
    """
    decided = own_object(run.folder / MACHINE)
    if decided is None:
        here = machine(runtime)
        device = here.device.type if here.processes > 1 else str(here.device)  # each process has another one of them
        write(run.folder / MACHINE, json.dumps({**asdict(here), "device": device}, indent=1) + "\n")
        return here
    decided.pop("processes", None)  # a run may go on with others: what it computes is the same but for rounding
    problems: list[str] = []
    settings = typed({**plain(runtime), **decided}, Runtime, "", problems, anything)
    if not isinstance(settings, Runtime) or not re.fullmatch(DEVICES, settings.device):
        problems.append("its device is none")
    if problems or not isinstance(settings, Runtime):
        raise damaged(run.folder / MACHINE, "; ".join(problems))
    if isinstance(settings.threads, int):  # of another machine, maybe
        settings = replace(settings, threads=min(settings.threads, max(os.cpu_count() or 1, 1)))
    return machine(settings)


def prepare_process(here: Machine) -> None:
    """Let this process compute as the machine says: with so many threads."""
    torch.set_num_threads(here.threads)
    keep_freed_memory()


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _named(setting: str) -> torch.device:
    """The device that a setting names, whether it is there or not."""
    return torch.device(_best_device() if setting == "auto" else setting)


def _present(setting: str) -> torch.device:
    """The device that a setting names. Raises ConfigError where it is not there."""
    device = _named(setting)
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
        "xpu": torch.xpu.device_count(),
    }
    if (device.index or 0) >= there[device.type]:
        present = [kind if count == 1 else f"{kind}:0 to {kind}:{count - 1}" for kind, count in there.items() if count]
        raise ConfigError(f"runtime.device={device}: is not on this machine; there is {', '.join(present)}")
    return device


def _best_precision(device: torch.device) -> str:
    """The fastest that is safe: bfloat16 in hardware, float16 on older GPUs, else float32."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if device.type == "cpu":
        in_hardware = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bfloat16" if in_hardware else "float32"
    return "float32"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
