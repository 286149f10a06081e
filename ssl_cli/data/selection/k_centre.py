"""Inputs that leave no other far from a label: the greedy k-centre of core-set selection (Sener and Savarese, 2018)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.data.progress import show_progress
from ssl_cli.data.selection.proposal import Proposal

AT_ONCE = 1 << 24  # distances in memory
SHOWN_FROM = 1 << 32  # products of two features, which take seconds


def choose_k_centre(features: Tensor, known: Tensor, candidates: Tensor, count: int) -> Proposal:
    """Again and again the candidate that is farthest from all inputs that have a label or are chosen already.

    Without any label, the first is the one nearest to the mean of all. Distances are those of features of length 1.

    Args:
        features: float (N, D), of all inputs.
        known: int64 (K,), inputs that have a label.
        candidates: int64 (C,), inputs without one, of which `count` are chosen.
        count: at most C.

    Returns:
        the choice; scores are distances, from 0 to 2.
    """
    directions = F.normalize(features.float(), dim=1)
    pool = directions[candidates]
    nearest = _squared_to_nearest(pool, directions[known])
    items: list[int] = []
    scores: list[float] = []
    reasons: list[str] = []
    shown_from = 1 + SHOWN_FROM // max(pool.numel(), 1)
    for _ in show_progress("Choosing", "inputs", count, shown_from, range(count)):
        if not len(known) and not items:
            place = int((pool @ F.normalize(pool.mean(0), dim=0)).argmax())
            score, reason = 0.0, "nearest to the mean of all inputs"
        else:
            place = int(nearest.argmax())
            score = float(nearest[place].clamp(min=0).sqrt())
            reason = f"{score:.2f} from the nearest input that has a label or is chosen"
        items.append(int(candidates[place]))
        scores.append(score)
        reasons.append(reason)
        nearest = torch.minimum(nearest, _squared(pool, pool[place : place + 1])[:, 0])
        nearest[place] = -1.0  # never again, even where others are equal to it
    return Proposal(torch.tensor(items, dtype=torch.int64), scores, reasons)


def _squared_to_nearest(pool: Tensor, others: Tensor) -> Tensor:
    """The squared distance of each direction to the nearest of others, (C, D), (K, D) → (C,); larger than any without others.

    What was chosen gets −1 in its place, which is why squares are clamped at 0.
    """
    nearest = torch.full((len(pool),), 5.0)
    if len(others):
        size = max(1, AT_ONCE // len(others))
        nearest = torch.cat([_squared(part, others).amin(1) for part in pool.split(size)])
    return nearest


def _squared(ones: Tensor, others: Tensor) -> Tensor:
    """Squared distances of directions: (A, D), (B, D) → (A, B)."""
    return (2 - 2 * ones @ others.T).clamp(min=0)
