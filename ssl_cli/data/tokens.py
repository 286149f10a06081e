"""Texts as stored tokens, and the vocabulary that says what these mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ssl_cli.data.shards import Shards


@dataclass(frozen=True)
class Vocabulary:
    """What networks and views must know of tokens.

    size: number of token ids; pad, mask, first, last: ids of the special tokens, `first` before each text and `last` after it.
    mask is None where a tokenizer has none; several of the others may be the same token.
    pair: stands between the two texts of a pair; sentence: between the sentences of a document, None where none are marked.
    languages: names of the languages, whose ids are their positions; empty where there is one only.
    tokenizer: `tokenizer.json` of the tokenizers library, empty where texts were not tokenised by it.
    """

    size: int
    pad: int
    mask: int | None
    first: int
    last: int
    pair: int
    sentence: int | None = None
    languages: tuple[str, ...] = ()
    tokenizer: str = field(default="", repr=False)

    @property
    def special(self) -> tuple[int, ...]:
        """The ids that stand for no part of a text."""
        known = (self.pad, self.mask, self.first, self.last, self.pair, self.sentence)
        return tuple(sorted({number for number in known if number is not None}))


@dataclass(frozen=True)
class Tokens:
    """N texts one after the other, in memory or mapped from files.

    flat: int32 (T,), all tokens, without `first` and `last`; starts, lengths: int64 (N,), where each text is.
    languages: uint8 (N,), or None where there is one language.

    Indexing gives some of the texts and copies no tokens.
    """

    flat: Tensor | Shards
    starts: Tensor
    lengths: Tensor
    languages: Tensor | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, which: Tensor | slice) -> Tokens:
        languages = None if self.languages is None else self.languages[which]
        return Tokens(self.flat, self.starts[which], self.lengths[which], languages)

    @property
    def device(self) -> torch.device:
        """Of the tokens."""
        return self.flat.device

    def split(self, size: int) -> Iterator[Tokens]:
        """`size` texts at a time."""
        for first in range(0, len(self), size):
            yield self[first : first + size]

    def text(self, item: int) -> Tensor:
        """The tokens of one text: int32 (length,)."""
        start = int(self.starts[item])
        return self.flat[start : start + int(self.lengths[item])]

    def read(self) -> Tensor:
        """The tokens of these texts, one after the other: int32 (Σ lengths,)."""
        return self.flat[flat_positions(self.starts, self.lengths)]

    def packed(self) -> Tokens:
        """The same texts with no other tokens in `flat`."""
        return Tokens(self.read(), self.lengths.cumsum(0) - self.lengths, self.lengths, self.languages)


def together(parts: Sequence[Tokens]) -> Tokens:
    """Several texts after each other, which may be stored in different places."""
    lengths = torch.cat([part.lengths for part in parts])
    languages = [part.languages for part in parts if part.languages is not None]
    return Tokens(
        torch.cat([part.read() for part in parts]),
        lengths.cumsum(0) - lengths,
        lengths,
        torch.cat(languages) if languages else None,
    )


def flat_positions(starts: Tensor, lengths: Tensor) -> Tensor:
    """Indices of all elements of runs that start here and are this long, run by run: (N,), (N,) → (Σ lengths,)."""
    before = lengths.cumsum(0) - lengths
    return torch.arange(int(lengths.sum()), device=starts.device) + (starts - before).repeat_interleave(lengths)
