"""Random views of texts: a span of it, with some of its tokens left out."""

from __future__ import annotations

import torch
from torch import Tensor

from ssl_cli.config.schema import Length, Span, TokenDropout
from ssl_cli.data.token_batch import TokenBatch, pack
from ssl_cli.data.tokens import Tokens, Vocabulary, flat_positions
from ssl_cli.randomness import Draws


class TextViews:
    """Views of texts, with a draw for each text: [first] tokens [last].

    Args:
        vocabulary: of the texts.
        max_length: of a view in tokens, with the first and the last; longer texts end there.
        span: which part of a text is seen.
        drop: which of its tokens are left out.
    """

    def __init__(self, vocabulary: Vocabulary, max_length: Length, span: Span, drop: TokenDropout):
        self.vocabulary = vocabulary
        self.max_length = max_length
        self.span, self.drop = span, drop

    def plain(self, inputs: Tokens | Tensor, device: torch.device) -> TokenBatch | Tensor:
        """The texts as evaluation sees them: from their beginning, nothing left out. Features (B, D) pass unchanged."""
        if isinstance(inputs, Tensor):
            return inputs.to(device)
        return self._batch(inputs, torch.zeros_like(inputs.lengths), inputs.lengths, None).to(device)

    def longer(self, inputs: Tokens) -> int:
        """How many texts evaluation sees the beginning of only."""
        return int((inputs.lengths > self.max_length - 2).sum())

    def __call__(self, inputs: Tokens, count: int, draws: Draws) -> tuple[TokenBatch, ...]:
        """B texts → `count` views of each, on the device of `draws`."""
        # Drawn where the texts are: how they are packed into rows depends on the draws.
        here = draws.on(inputs.device)
        return tuple(self._view(inputs, here).to(draws.device) for _ in range(count))

    def _view(self, inputs: Tokens, draws: Draws) -> TokenBatch:
        begins, lengths = torch.zeros_like(inputs.lengths), inputs.lengths
        if self.span.p:
            low, high = self.span.share
            chosen = draws.uniform(len(inputs)) < self.span.p
            share = low + (high - low) * draws.uniform(len(inputs))
            most = torch.minimum((share * lengths).ceil().long().clamp(min=1), lengths)
            most = most.clamp(max=self.max_length - 2)
            anywhere = (draws.uniform(len(inputs)) * (lengths - most + 1)).long()
            begins = torch.where(chosen, anywhere, begins)
            lengths = torch.where(chosen, most, lengths)
        return self._batch(inputs, begins, lengths, draws if self.drop.p else None)

    def _batch(self, inputs: Tokens, begins: Tensor, lengths: Tensor, draws: Draws | None) -> TokenBatch:
        """The texts' tokens from `begins` on, `lengths` of them; `draws` for what is left out."""
        lengths = lengths.clamp(max=self.max_length - 2)
        which = torch.arange(len(inputs), device=lengths.device).repeat_interleave(lengths)
        ids = inputs.flat[flat_positions(inputs.starts + begins, lengths)].long()
        if draws is not None:
            # A number for each place that a token can have, so that other processes' texts do not change the draw.
            column = flat_positions(torch.zeros_like(lengths), lengths)
            kept = draws.uniform(len(inputs), self.max_length)[which, column] >= self.drop.p
            has_none = torch.bincount(which[kept], minlength=len(inputs)) == 0
            kept |= has_none[which] & (column == 0)  # a text keeps one token
            ids, which = ids[kept], which[kept]
            lengths = torch.bincount(which, minlength=len(inputs))
        return self._framed(ids, which, lengths, inputs.languages)

    def _framed(self, ids: Tensor, which: Tensor, lengths: Tensor, languages: Tensor | None) -> TokenBatch:
        """With the first and the last token around each text: (Σ lengths,), text of each, (N,), (N,) → packed."""
        known, whole = self.vocabulary, lengths + 2
        ends = whole.cumsum(0) - 1
        places = torch.arange(len(ids)) + 2 * which + 1
        framed = torch.full((int(whole.sum()),), known.last)
        framed[ends - whole + 1] = known.first
        framed[places] = ids
        positions = flat_positions(torch.zeros_like(whole), whole)
        spoken = None if languages is None else languages.long().repeat_interleave(whole)
        return pack(whole, framed, positions, self._segments(framed, whole), spoken, self.max_length)

    def _segments(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """1 from the token after the one between the two texts of a pair, 0 elsewhere."""
        is_mark = (ids == self.vocabulary.pair).long()
        before = is_mark.cumsum(0) - is_mark  # marks before a token, in all texts
        return (before - before[lengths.cumsum(0) - lengths].repeat_interleave(lengths)).clamp(0, 1)
