"""The machine: which device and precision, decided once, printed and saved."""

import contextlib
import ctypes
import os
import platform
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from ssl_cli.errors import ConfigError
from ssl_cli.schema import Runtime


@dataclass(frozen=True)
class Machine:
    """What `runtime` came to on this machine."""

    device: torch.device
    precision: str
    threads: int
    channels_last: bool

    def autocast(self) -> AbstractContextManager:
        """Forward passes in the chosen precision; weights and losses stay float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def place(self, module: nn.Module) -> nn.Module:
        """A module on the device, in the memory layout of the inputs."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return module.to(self.device, memory_format=layout)

    def layout(self, inputs: Tensor) -> Tensor:
        """Inputs in the memory layout of the weights."""
        is_image = inputs.ndim == 4 and self.channels_last
        return inputs.contiguous(memory_format=torch.channels_last) if is_image else inputs

    def described(self) -> str:
        """For the first line of a run."""
        threads = f", {self.threads} threads" if self.device.type == "cpu" else ""
        return f"{self.device}, {self.precision}{threads}"

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
    """What the settings mean here; sets the number of threads.

    Raises:
        ConfigError: the device is not there.
    """
    device = torch.device(_best_device() if runtime.device == "auto" else runtime.device)
    _require(device)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if runtime.threads != "auto":
        threads = runtime.threads
    torch.set_num_threads(threads)
    _keep_freed_memory()
    precision = runtime.precision
    if precision == "auto":
        precision = "bfloat16" if _computes_bfloat16(device) else "float32"
    channels_last = device.type != "mps" if runtime.channels_last == "auto" else runtime.channels_last
    return Machine(device, precision, threads, channels_last)


def _keep_freed_memory() -> None:
    """Let glibc keep large blocks for the next step; giving them back costs a third of a small network's step.

    By default every tensor above some MB is a mapping of its own, whose pages the kernel clears anew each time.
    """
    no_mappings, never_trim, ask_for = (-4, 0), (-1, 2**31 - 1), (-2, 64 << 20)  # M_MMAP_MAX, M_TRIM_…, M_TOP_PAD
    with contextlib.suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL("libc.so.6")
        for parameter, value in (no_mappings, never_trim, ask_for):
            library.mallopt(parameter, value)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _require(device: torch.device) -> None:
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
        "xpu": torch.xpu.device_count(),
    }
    if (device.index or 0) >= there[device.type]:
        present = [kind if count == 1 else f"{kind}:0 to {kind}:{count - 1}" for kind, count in there.items() if count]
        raise ConfigError(f"runtime.device={device}: is not on this machine; there is {', '.join(present)}")


def _computes_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
