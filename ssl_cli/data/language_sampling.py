"""Which languages are seen how often: drawn in proportion to their share to a power (Conneau and Lample, 2019, section 3.1)."""

import torch
from torch import Tensor

from ssl_cli.randomness import generator


def language_probabilities(counts: Tensor, power: float) -> Tensor:
    """q_i = p_i^α / Σ p_j^α, with p the shares of the texts: int64 (L,) → float64 (L,); 0 for languages without a text."""
    shares = counts.double() / counts.sum()
    raised = torch.where(counts > 0, shares.pow(power), 0.0)
    return raised / raised.sum()


def resampled(languages: Tensor, power: float, seed: int, epoch: int) -> Tensor:
    """An epoch's order, as long as there are texts: a language for each place, then a text of that language.

    The texts of a language come in an order of their own, and all of them before one of them comes again. Texts of small
    languages are there more than once, and of large ones only some, others in each epoch.

    Args:
        languages: int64 (N,), of the texts.
        power: α; 1 gives each language its share, 0 all the same.
        seed, epoch: of the draw.

    Returns:
        int64 (N,), which text is at each place.
    """
    source = generator(seed, "languages", epoch)
    counts = languages.bincount()
    drawn = torch.multinomial(language_probabilities(counts, power), len(languages), replacement=True, generator=source)
    order = torch.empty(len(languages), dtype=torch.int64)
    for language in counts.nonzero()[:, 0].tolist():
        places, own = (drawn == language).nonzero()[:, 0], (languages == language).nonzero()[:, 0]
        rounds = -(-len(places) // len(own))
        mixed = torch.cat([torch.randperm(len(own), generator=source) for _ in range(rounds)] or [own[:0]])
        order[places] = own[mixed[: len(places)]]
    return order


def quotas(counts: Tensor, power: float, total: int) -> Tensor:
    """How many texts of each language make a sample: int64 (L,) → (L,), about `total` in all and one at least of each."""
    wanted = (language_probabilities(counts, power) * total).round().long()
    return torch.where(counts > 0, wanted.clamp_min(1), 0)


def held_out(languages: Tensor, cases: Tensor | None, items: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """A share of the texts of each language, and all that belong to the same cases, apart from the others.

    Args:
        languages: int64 (N,); all 0 where there is one.
        cases: int64 (N,), which texts belong together, such as translations; None: nothing says so.
        items: int64 (M,), the texts in question.
        share: of each language, rounded.
        seed: of the draw.

    Returns:
        int64, the items that stay; int64, those that are held out. Both in the order of `items`.
    """
    mixed = items[torch.randperm(len(items), generator=generator(seed, "held out"))]
    apart = torch.zeros(len(languages), dtype=torch.bool)
    for language in languages[items].unique().tolist():
        own = mixed[languages[mixed] == language]
        apart[own[: round(share * len(own))]] = True
    if cases is not None:
        apart[items] |= torch.isin(cases[items], cases[apart])
    chosen = apart[items]
    return items[~chosen], items[chosen]
