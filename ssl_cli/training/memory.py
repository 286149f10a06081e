"""Memory: what to lower where there is not enough, on whatever device, and what the C library keeps between steps."""

import contextlib
import ctypes
import re
from collections.abc import Iterable
from pathlib import Path

# PyTorch has an error of its own for some devices only.
NOT_ENOUGH = r"out of memory|can't allocate memory|not enough memory|bad_alloc|ALLOC_FAILED"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error says."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and bool(re.search(NOT_ENOUGH, str(error)))
    )


def what_to_lower(error: BaseException, batch_sizes: Iterable[tuple[str, int]]) -> str:
    """A sentence for a run that memory is not enough for.

    Args:
        error: what it ended in.
        batch_sizes: the settings that say how many inputs are in memory at a time, with their values.
    """
    asked = re.search(r"tried to allocate ([\d.]+ \w+)", str(error), re.IGNORECASE)
    said = f"there is no memory for another {asked[1]}" if asked else "memory is full"
    lower = " or ".join(f"{key}={size}" for key, size in batch_sizes)
    return f"{said}: " + (f"lower {lower}, or take" if lower else "take") + " a smaller network"


def keep_freed_memory() -> None:
    """Let glibc keep large blocks for the next step; giving them back costs a third of a small network's step.

    By default every tensor above some MB is a mapping of its own, whose pages the kernel clears anew each time.
    """
    no_mappings, never_trim, ask_for = (-4, 0), (-1, 2**31 - 1), (-2, 64 << 20)  # M_MMAP_MAX, M_TRIM_…, M_TOP_PAD
    with contextlib.suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL("libc.so.6")
        for parameter, value in (no_mappings, never_trim, ask_for):
            library.mallopt(parameter, value)


class KeptMemory:
    """What glibc keeps for the next step, as `keep_freed_memory` asks, given back where it grows.

    Tensors of texts have another size at each step, so that what is kept lies in more and more pieces too small for the next.
    """

    GROWTH = 1.25  # of the process's memory, from which giving back pays; it costs a tenth of a second for each GB

    def __init__(self) -> None:
        self._usual: int | None = None

    def check(self) -> None:
        """Give the free memory back if the process has grown since it was last given back."""
        with contextlib.suppress(OSError, AttributeError):  # another system or C library, which keeps nothing
            held = int(Path("/proc/self/statm").read_text().split()[1])
            if self._usual is None:
                self._usual = held
            elif held > self.GROWTH * self._usual:
                ctypes.CDLL("libc.so.6").malloc_trim(0)
                self._usual = None
