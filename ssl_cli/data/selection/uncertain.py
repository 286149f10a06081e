"""Inputs that a classifier is least certain of, and of these the ones that differ from each other."""

from torch import Tensor

from ssl_cli.data.selection.k_centre import choose_k_centre
from ssl_cli.data.selection.proposal import Proposal

SHORTLIST = 10  # times as many as are asked for, of which k-centre chooses


def choose_by_margin(logits: Tensor, classes: tuple[str, ...], candidates: Tensor, count: int) -> Proposal:
    """The candidates whose two most probable classes are nearest to each other (Scheffer et al., 2001).

    Args:
        logits: float (N, classes), of all inputs.
        classes: their names.
        candidates: int64 (C,), inputs without a label, of which `count` are chosen.
        count: at most C.

    Returns:
        the choice; scores are differences of probabilities, the smallest first.
    """
    highest, named = logits[candidates].double().softmax(1).topk(2, dim=1)
    margins = highest[:, 0] - highest[:, 1]
    order = margins.argsort(stable=True)[:count]
    reasons = [
        f"{classes[one]} or {classes[other]}: {float(margins[place]):.3f} between them"
        for place, (one, other) in zip(order.tolist(), named[order].tolist(), strict=True)
    ]
    return Proposal(candidates[order], margins[order].tolist(), reasons)


def choose_by_entropy(logits: Tensor, candidates: Tensor, count: int) -> Proposal:
    """The candidates whose predicted probabilities have the largest entropy; arguments as of `choose_by_margin`.

    Returns:
        the choice; scores are entropies in nats, the largest first.
    """
    logarithms = logits[candidates].double().log_softmax(1)
    entropies = -(logarithms.exp() * logarithms).sum(1)
    order = entropies.argsort(descending=True, stable=True)[:count]
    reasons = [f"entropy {float(entropies[place]):.3f} nats" for place in order.tolist()]
    return Proposal(candidates[order], entropies[order].tolist(), reasons)


def choose_margin_then_k_centre(
    logits: Tensor, classes: tuple[str, ...], features: Tensor, known: Tensor, candidates: Tensor, count: int
) -> Proposal:
    """k-centre among the candidates with the smallest margins, ten times as many as are chosen: uncertain, and not all alike.

    Args:
        logits, classes, candidates, count: as of `choose_by_margin`.
        features: float (N, D), of all inputs.
        known: int64 (K,), inputs that have a label.

    Returns:
        the choice; scores are those of k-centre, reasons those of both.
    """
    doubtful = choose_by_margin(logits, classes, candidates, min(SHORTLIST * count, len(candidates)))
    chosen = choose_k_centre(features, known, doubtful.items, count)
    why = dict(zip(doubtful.items.tolist(), doubtful.reasons, strict=True))
    reasons = [f"{why[item]}; {reason}" for item, reason in zip(chosen.items.tolist(), chosen.reasons, strict=True)]
    return Proposal(chosen.items, chosen.scores, reasons)
