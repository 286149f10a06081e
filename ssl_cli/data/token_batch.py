"""Batches of texts as networks get them: packed into rows, so that little of a batch is padding."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.data.tokens import Vocabulary, flat_positions
from ssl_cli.processes import count, gather

IGNORED = -1  # the text that padding belongs to


@dataclass(frozen=True)
class TokenBatch:
    """N texts packed into R rows of T tokens; a row holds one text, or several that do not see each other.

    ids: int64 (R, T).
    texts: int64 (R, T), which text a token belongs to, `IGNORED` for padding.
    positions: int64 (R, T), of a token in its text, from 0.
    segments: int64 (R, T), 1 in the second text of a pair, 0 elsewhere.
    languages: int64 (R, T), or None where there is one language.
    firsts, lasts: int64 (N,), where in the flattened rows each text begins and ends.
    longest: most tokens that a text may have, whatever this batch happens to hold: random numbers are drawn for so many.
    """

    ids: Tensor
    texts: Tensor
    positions: Tensor
    segments: Tensor
    languages: Tensor | None
    firsts: Tensor
    lasts: Tensor
    longest: int

    def __len__(self) -> int:
        return len(self.firsts)

    @property
    def device(self) -> torch.device:
        """Of all tensors."""
        return self.ids.device

    @property
    def present(self) -> Tensor:
        """Where there is a token and no padding: bool (R, T)."""
        return self.texts != IGNORED

    @property
    def places(self) -> Tensor:
        """How many tokens of its text are before each token: int64 (R, T), 0 for padding."""
        flat = torch.arange(self.ids.numel(), device=self.device).view_as(self.ids)
        return torch.where(self.present, flat - self.firsts[self.texts.clamp_min(0)], 0)

    @property
    def is_one_text_a_row(self) -> bool:
        """Whether no two texts share a row and there is no padding, so that nothing must be hidden from attention."""
        if self.ids.shape[0] != len(self):
            return False
        return self.ids.is_meta or self.ids.numel() == int((self.lasts - self.firsts + 1).sum())

    def to(self, device: torch.device | str) -> TokenBatch:
        """The same on a device."""
        languages = None if self.languages is None else self.languages.to(device, non_blocking=True)
        rows = (self.ids, self.texts, self.positions, self.segments)
        ids, texts, positions, segments = (value.to(device, non_blocking=True) for value in rows)
        return TokenBatch(
            ids, texts, positions, segments, languages, self.firsts.to(device), self.lasts.to(device), self.longest
        )

    def __getitem__(self, which: slice) -> TokenBatch:
        """Some of the texts, packed anew."""
        firsts, lengths = self.firsts[which], (self.lasts - self.firsts + 1)[which]
        tokens = flat_positions(firsts, lengths)
        languages = None if self.languages is None else self.languages.flatten()[tokens]
        ids, positions, segments = (value.flatten()[tokens] for value in (self.ids, self.positions, self.segments))
        return pack(lengths, ids, positions, segments, languages, self.longest)

    def attention_mask(self, causal: bool) -> Tensor:
        """Which token (row) may see which (column): bool (R, 1, T, T). Padding sees padding, so that no row is empty."""
        same = self.texts[:, :, None] == self.texts[:, None, :]
        if causal:
            same = same.tril()
        return same[:, None]


def joined(views: Sequence[Any]) -> Any:
    """Several views, of images or of texts, as one batch in this order."""
    if isinstance(views[0], Tensor):
        return torch.cat(list(views))
    if len(views) == 1:
        return views[0]
    batches: list[TokenBatch] = list(views)
    width = max(batch.ids.shape[1] for batch in batches)
    texts_before = list(itertools.accumulate(map(len, batches), initial=0))
    rows_before = list(itertools.accumulate((len(batch.ids) for batch in batches), initial=0))

    def wide(name: str, empty: int = 0) -> Tensor:
        found = [getattr(batch, name) for batch in batches]
        return torch.cat([F.pad(each, (0, width - each.shape[1]), value=empty) for each in found])

    def moved(name: str) -> Tensor:
        return torch.cat(
            [
                (rows + flat // own) * width + flat % own
                for batch, rows in zip(batches, rows_before, strict=False)
                for own, flat in [(batch.ids.shape[1], getattr(batch, name))]
            ]
        )

    texts = wide("texts", IGNORED)
    for batch, before, row in zip(batches, texts_before, rows_before, strict=False):
        own = texts[row : row + len(batch.ids)]
        own[own != IGNORED] += before
    languages = None if batches[0].languages is None else wide("languages")
    return TokenBatch(
        wide("ids"),
        texts,
        wide("positions"),
        wide("segments"),
        languages,
        moved("firsts"),
        moved("lasts"),
        max(batch.longest for batch in batches),
    )


def gathered(batch: TokenBatch) -> TokenBatch:
    """The texts of all processes that train together, in the order of one, packed anew."""
    if count() == 1:
        return batch
    lengths = gather(batch.lasts - batch.firsts + 1)
    there = torch.arange(batch.longest, device=batch.device) < lengths[:, None]

    def of_all(values: Tensor) -> Tensor:
        table = values.new_zeros(len(batch), batch.longest)
        table[batch.texts[batch.present], batch.places[batch.present]] = values[batch.present]
        return gather(table)[there]

    languages = None if batch.languages is None else of_all(batch.languages)
    ids, positions, segments = (of_all(values) for values in (batch.ids, batch.positions, batch.segments))
    return pack(lengths.cpu(), ids, positions, segments, languages, batch.longest)


def pack(
    lengths: Tensor, ids: Tensor, positions: Tensor, segments: Tensor, languages: Tensor | None, longest: int
) -> TokenBatch:
    """Texts in rows of at most `longest` tokens.

    Args:
        lengths: int64 (N,), of the texts, at most `longest` and at least 1.
        ids, positions, segments, languages: int64 (Σ lengths,), of all tokens, text by text.
        longest: width of a row; rows are narrower where the fullest is.
    """
    device = ids.device
    rows, columns, count, width = packing(lengths, longest)
    firsts = (rows * width + columns).to(device)
    lengths = lengths.to(device)
    places = flat_positions(firsts, lengths)

    def laid_out(values: Tensor, empty: int = 0) -> Tensor:
        return values.new_full((count * width,), empty).scatter_(0, places, values).view(count, width)

    texts = torch.arange(len(lengths), device=device).repeat_interleave(lengths)
    return TokenBatch(
        ids=laid_out(ids),
        texts=laid_out(texts, IGNORED),
        positions=laid_out(positions),
        segments=laid_out(segments),
        languages=None if languages is None else laid_out(languages),
        firsts=firsts,
        lasts=firsts + lengths - 1,
        longest=longest,
    )


def sample(vocabulary: Vocabulary, count: int, length: int, device: torch.device | str) -> TokenBatch:
    """A batch of `count` texts of `length` padding tokens, to try networks with."""
    ids = torch.full((count, length), vocabulary.pad, device=device)
    texts = torch.arange(count, device=device)[:, None].expand(count, length)
    positions = torch.arange(length, device=device).expand(count, length)
    firsts = torch.arange(count, device=device) * length
    languages = torch.zeros_like(ids) if vocabulary.languages else None
    return TokenBatch(ids, texts, positions, torch.zeros_like(ids), languages, firsts, firsts + length - 1, length)


def packing(lengths: Tensor, width: int) -> tuple[Tensor, Tensor, int, int]:
    """Rows of `width` for texts of these lengths, the longest first, each into the first row with room for it.

    Returns:
        int64 (N,), (N,): row and column where each text begins; the number of rows; the width of the fullest.
    """
    room: list[int] = []
    sizes = lengths.tolist()
    rows, columns = [0] * len(sizes), [0] * len(sizes)
    begin = [0] * (width + 1)  # no row before this one has room for a text of this length
    for item in sorted(range(len(sizes)), key=lambda item: -sizes[item]):
        size, row = sizes[item], begin[sizes[item]]
        while row < len(room) and room[row] < size:
            row += 1
        if row == len(room):
            room.append(width)
        begin[size] = row
        rows[item], columns[item] = row, width - room[row]
        room[row] -= size
    return torch.tensor(rows), torch.tensor(columns), len(room), width - min(room)
