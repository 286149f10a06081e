"""What every way of choosing inputs to label gives."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Proposal:
    """Inputs to label, the most useful first.

    items: int64 (n,), numbers of training inputs; scores: by which each was chosen, (n,); reasons: the same in words.
    """

    items: Tensor
    scores: list[float]
    reasons: list[str]


def draw_at_random(candidates: Tensor, count: int, source: torch.Generator) -> Proposal:
    """`count` of the candidates, int64 (C,), each as likely as the others."""
    items = candidates[torch.randperm(len(candidates), generator=source)[:count]]
    return Proposal(items, [0.0] * len(items), ["drawn at random"] * len(items))
