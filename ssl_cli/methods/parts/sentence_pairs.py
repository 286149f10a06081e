"""Pairs of a text's beginning and a continuation, which is another text's half of the time (BERT, section 3.1, task 2)."""

import torch
from torch import Tensor

from ssl_cli.data.token_batch import TokenBatch, gathered, pack
from ssl_cli.data.tokens import Vocabulary, flat_positions
from ssl_cli.processes import own
from ssl_cli.randomness import Draws


def sentence_pairs(batch: TokenBatch, vocabulary: Vocabulary, draws: Draws) -> tuple[TokenBatch, Tensor]:
    """Cut each text at a random sentence's end; the second part is that of another text with probability 1/2.

    Texts of one sentence stay as they are. Where both parts are more than a text may have, the longer one is shortened first, as
    in BERT's code: A at its beginning, so that what is beside B stays, and B at its end.

    Where several processes train together, the other text may be that of another one.

    Returns:
        N texts, `[CLS] A [PAIR] B [SEP]` with segments 0 and 1; int64 (N,): 1 where B is another text's, 0 where it is the true
        one, −1 where there is no second part.
    """
    batch, draws = gathered(batch), draws.for_all()
    flat, device = batch.ids.flatten(), batch.device
    count, lengths = len(batch), batch.lasts - batch.firsts + 1
    cut = _cuts(batch, vocabulary, draws)  # places of the marks between A and B; 0 where there is none
    can = cut > 0
    others = can.nonzero()[:, 0]
    is_random = torch.where(can, (draws.uniform(count) < 0.5).long(), -1)
    # The continuation of the next text that has one, so that each is used once.
    source = torch.arange(count, device=device)
    source[others] = torch.where(is_random[others] == 1, others.roll(-1), others)
    is_random = torch.where(can & (source == torch.arange(count, device=device)) & (is_random == 1), 0, is_random)
    of_a = torch.where(can, cut, lengths) - 1  # without the first token and the mark
    of_b = torch.where(can, (lengths - cut)[source] - 2, 0)  # without the mark and the last token
    most = batch.longest - 3
    kept_a = torch.where(can, of_a.minimum((most - of_b).clamp_min(most - most // 2)), of_a)
    kept_b = of_b.minimum(most - kept_a).clamp_min(0)
    before, after = 1 + kept_a, torch.where(can, kept_b + 2, 0)
    starts = [batch.firsts, batch.firsts + 1 + of_a - kept_a, (batch.firsts + cut)[source]]
    sizes = [torch.ones_like(kept_a), kept_a, after]
    tokens = flat_positions(torch.stack(starts, dim=1).flatten(), torch.stack(sizes, dim=1).flatten())
    whole = before + after
    ids = flat[tokens].clone()
    ids[(whole.cumsum(0) - whole + before)[can]] = vocabulary.pair
    ids[whole.cumsum(0) - 1] = vocabulary.last
    positions = flat_positions(torch.zeros_like(whole), whole)
    which = torch.arange(count, device=device).repeat_interleave(whole)
    segments = ((positions > before[which]) & can[which]).long()
    languages = None if batch.languages is None else batch.languages.flatten()[tokens]
    pairs = pack(whole.cpu(), ids, positions, segments, languages, batch.longest)
    return own(pairs), own(is_random)


def _cuts(batch: TokenBatch, vocabulary: Vocabulary, draws: Draws) -> Tensor:
    """The place in each text of a random mark between sentences; 0 where there is none. int64 (N,)."""
    marks = batch.ids == vocabulary.sentence
    scores = draws.uniform(len(batch), batch.longest)[batch.texts.clamp_min(0), batch.places]
    scores = torch.where(marks & batch.present, scores, -1.0).flatten()
    texts = batch.texts.flatten().clamp_min(0)
    best = torch.full((len(batch),), -1.0, device=batch.device).scatter_reduce_(0, texts, scores, "amax")
    is_best = (scores >= 0) & (scores == best[texts])
    places = torch.where(is_best, batch.places.flatten(), 0)
    return torch.zeros(len(batch), dtype=torch.int64, device=batch.device).scatter_reduce_(0, texts, places, "amax")
