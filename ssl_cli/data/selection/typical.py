"""Typical inputs of parts of the data that have no label yet: TypiClust (Hacohen et al., 2022)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.data.selection.proposal import Proposal

NEIGHBOURS = 20  # K of the paper
MOST_CLUSTERS = 500  # of the paper; with more labels, clusters get several
MINI_BATCH_ABOVE = 50  # clusters, from which on the paper takes mini-batches


def choose_typical(
    features: Tensor, known: Tensor, candidates: Tensor, count: int, source: torch.Generator
) -> Proposal:
    """From the largest clusters without a label, the input with the most near neighbours in its cluster.

    There are as many clusters as there will be labels. Those with the fewest labels are taken first, of these the largest first,
    and each gives one input before any gives another. Typical is what has the smallest mean distance to its 20 nearest neighbours
    in the cluster (the paper's section 3), or to half of the cluster where that is less. The paper's program leaves out clusters
    of at most five inputs; here they are the last of their turn.

    Args:
        features: float (N, D), of all inputs; only their directions count.
        known: int64 (K,), inputs that have a label.
        candidates: int64 (C,), inputs without one, of which `count` are chosen.
        count: at most C.
        source: of k-means' first means.

    Returns:
        the choice; scores are typicalities, 1 / mean distance.
    """
    pool = torch.cat([known, candidates])
    directions = F.normalize(features[pool].float(), dim=1).numpy()
    clusters = _clusters(directions, min(len(known) + count, MOST_CLUSTERS, len(pool)), source)
    free = np.arange(len(pool)) >= len(known)
    sizes = np.bincount(clusters)
    labels = np.bincount(clusters[~free], minlength=len(sizes))
    typicality = np.zeros(len(pool))
    # By how many labels and choices a cluster has already, then by size.
    waiting: list[tuple[int, int, int, int]] = []
    for cluster in np.flatnonzero(sizes).tolist():
        members = np.flatnonzero(clusters == cluster)
        typicality[members] = typicality_of(directions[members])
        own = members[free[members]]
        ordered = own[np.argsort(-typicality[own], kind="stable")]
        waiting += [
            (int(labels[cluster]) + turn, -int(sizes[cluster]), cluster, int(member))
            for turn, member in enumerate(ordered)
        ]
    chosen = sorted(waiting)[:count]
    places = [member for *_, member in chosen]
    reasons = [
        f"the most typical left of a group of {-size:,} inputs with {_labels(turn)}" for turn, size, _, _ in chosen
    ]
    return Proposal(pool[places], [float(typicality[place]) for place in places], reasons)


def typicality_of(members: np.ndarray) -> np.ndarray:
    """The inverse mean distance of each input of a cluster to its nearest neighbours in it: float (M, D) → (M,)."""
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    neighbours = min(NEIGHBOURS, len(members) // 2)
    if not neighbours:
        return np.ones(len(members))
    with threadpool_limits(1):
        distances, _ = NearestNeighbors(n_neighbors=neighbours).fit(members).kneighbors()
    return 1 / (distances.mean(1) + 1e-5)


def _clusters(directions: np.ndarray, count: int, source: torch.Generator) -> np.ndarray:
    """The cluster of each input by k-means: (N, D) → (N,)."""
    import warnings

    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    kind = KMeans if count <= MINI_BATCH_ABOVE else MiniBatchKMeans
    first = int(torch.randint(2**31, (), generator=source))
    with threadpool_limits(1), warnings.catch_warnings():  # one thread, or sums would depend on which ends first
        warnings.simplefilter("ignore", ConvergenceWarning)  # of inputs that are equal; some clusters are empty then
        return kind(count, n_init=10, random_state=first).fit_predict(directions)  # pyright: ignore[reportArgumentType]


def _labels(count: int) -> str:
    return "no label yet" if count == 0 else "one label" if count == 1 else f"{count:,} labels"
