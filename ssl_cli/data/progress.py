"""Bars of work on many inputs."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def show_progress(what: str, unit: str, total: int, shown_from: int, iterable: Iterable[Any] | None = None) -> tqdm:
    """A bar that is gone at the end; in a log file it writes a line every half minute, and none of short work.

    Args:
        what: is done; unit: what is counted; total: how many.
        shown_from: how many take long enough for a bar.
        iterable: of what is counted; None where `update` is called.
    """
    terminal = sys.stderr.isatty()
    return tqdm(
        iterable, what, total, unit=f" {unit}", leave=False, disable=total < shown_from,
        mininterval=0.2 if terminal else 30.0, delay=0 if terminal else 30.0,
    )  # fmt: skip
