"""Memory that is not enough, on whatever device: PyTorch has an error of its own for some of them only."""

import re
from collections.abc import Iterable

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
