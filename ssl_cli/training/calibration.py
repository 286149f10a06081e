"""How far a classifier's probabilities can be trusted: temperature scaling and split-conformal prediction sets."""

import math

import torch
from torch import Tensor

COLDEST, HOTTEST = 0.01, 100.0


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature with the least cross-entropy on inputs that were not trained on (Guo et al., 2017, section 4.2).

    A share 1 / (N + 2) of each target goes to all classes alike (Platt, 1999, has the same for two classes): N inputs that are
    all right are no reason for a probability of 1.

    Args:
        logits: float (N, C).
        labels: int64 (N,).

    Returns:
        a number in [0.01, 100] by which logits are divided.
    """
    logits = logits.double()
    smoothing = 1 / (len(labels) + 2)
    targets = torch.full_like(logits, smoothing / logits.shape[1])
    targets[torch.arange(len(labels)), labels] += 1 - smoothing
    wanted = (targets * logits).sum(1).mean()
    # The cross-entropy is convex in 1 / T, and its derivative, mean expected logit minus the wanted one, rises.
    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    for _ in range(60):
        middle = (low + high) / 2
        expected = ((logits * math.exp(middle)).softmax(1) * logits).sum(1).mean()
        low, high = (middle, high) if expected < wanted else (low, middle)
    return math.exp(-low)


def calibrated(logits: Tensor, temperature: float) -> Tensor:
    """Probabilities: float (N, C) → float64 (N, C)."""
    return (logits.double() / temperature).softmax(1)


def conformal_scores(probabilities: Tensor, labels: Tensor) -> Tensor:
    """1 − the probability of the true class: (N, C), int64 (N,) → (N,)."""
    return 1 - probabilities[torch.arange(len(labels)), labels]


def conformal_threshold(scores: Tensor, confidence: float) -> float:
    """The largest score of classes in a prediction set, which has the true class with this probability (Vovk et al., 2005).

    Args:
        scores: of N inputs that were not trained on (N,).
        confidence: in (0, 1).

    Returns:
        the ⌈(N + 1) · confidence⌉-th smallest score; infinity, so that each set has all classes, where N is too small for that.
    """
    # Rounded first: (9 + 1) · 0.9 is a little more than 9 in binary for some products.
    rank = math.ceil(round((len(scores) + 1) * confidence, 9))
    return float(scores.sort().values[rank - 1]) if rank <= len(scores) else math.inf


def set_sizes(probabilities: Tensor, threshold: float) -> Tensor:
    """How many classes are in each prediction set: (N, C) → int64 (N,)."""
    return (1 - probabilities <= threshold).sum(1)


def labels_needed(confidence: float) -> int:
    """The fewest inputs with which a prediction set can leave a class out."""
    return math.ceil(round(confidence / (1 - confidence), 9))
