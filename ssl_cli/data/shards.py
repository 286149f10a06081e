"""Rows in several files that are mapped into memory and addressed as one, so that no file grows with the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

BYTES = 256 << 20  # of a file, about


class Shards:
    """N rows of one form in one or several tensors, most of them mapped from files.

    It has what users need of a tensor: `shape`, `dtype`, `device`, `nbytes`, `len`, `split`, and an index, a slice or a tensor of
    indices, which read these rows, and no others, into a tensor.

    Args:
        parts: (M, …) each, of one type and one form.
        rows: int64 (N,), which rows of all parts, one after the other, are meant, in this order; None for all as they are.
        check: is called with all that is read, and raises where it cannot be what was written.
    """

    def __init__(
        self, parts: Sequence[Tensor], rows: Tensor | None = None, check: Callable[[Tensor], None] | None = None
    ):
        self._parts, self._rows, self._check = tuple(parts), rows, check
        self._ends = torch.tensor(list(accumulate(map(len, parts))))

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._rows is None else len(self._rows)

    @property
    def shape(self) -> torch.Size:
        """(N, …)."""
        return torch.Size((len(self), *self._parts[0].shape[1:]))

    @property
    def dtype(self) -> torch.dtype:
        """Of the elements."""
        return self._parts[0].dtype

    @property
    def device(self) -> torch.device:
        """Of what is read."""
        return self._parts[0].device

    @property
    def nbytes(self) -> int:
        """Of all rows."""
        return self.shape.numel() * self.dtype.itemsize

    def some(self, which: slice) -> Shards:
        """Some of the rows, unread."""
        rows = torch.arange(len(self)) if self._rows is None else self._rows
        return Shards(self._parts, rows[which], self._check)

    def __getitem__(self, which: Tensor | slice | int) -> Tensor:
        if isinstance(which, int):
            return self[which : which + 1 or None][0]
        if isinstance(which, slice):
            rows = self._rows[which] if self._rows is not None else torch.arange(*which.indices(len(self)))
        else:
            which = which.nonzero()[:, 0] if which.dtype == torch.bool else which
            rows = which if self._rows is None else self._rows[which]
        read = self._read(rows)
        if self._check is not None:
            self._check(read)
        return read

    def split(self, size: int) -> Iterator[Tensor]:
        """All rows, `size` of them at a time."""
        for first in range(0, len(self), size):
            yield self[first : first + size]

    def _read(self, rows: Tensor) -> Tensor:
        """int64 (M,) → (M, …)."""
        if len(self._parts) == 1:
            return self._parts[0].index_select(0, rows)  # which copies rows as a whole, as indexing does not
        part = torch.bucketize(rows, self._ends, right=True)
        numbers, counts = part.unique_consecutive(
            return_counts=True
        )  # neighbours of one part, such as a text, are read at once
        read = torch.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        sizes, begins = counts.tolist(), (self._ends - torch.tensor(list(map(len, self._parts)))).tolist()
        for number, own, place in zip(numbers.tolist(), rows.split(sizes), read.split(sizes), strict=True):
            torch.index_select(self._parts[number], 0, own - begins[number], out=place)
        return read


def mapped(path: Path, dtype: torch.dtype, count: int, offset: int = 0) -> Tensor:
    """`count` numbers of a file from a byte on, mapped: (count,). What is written to the tensor does not reach the file.

    It keeps no file open, of which a process may have few.

    Raises:
        ValueError: the file is shorter.
        OSError, RuntimeError: it cannot be mapped.
    """
    end = offset + count * dtype.itemsize
    if path.stat().st_size < end:
        raise ValueError(f"{path.name} is cut off")
    if not count:
        return torch.empty(0, dtype=dtype)
    return torch.from_file(str(path), shared=False, size=end, dtype=torch.uint8)[offset:].view(dtype)
