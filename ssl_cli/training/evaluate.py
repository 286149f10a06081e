"""What a network knows: features, accuracy, nearest neighbours."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.types import UNKNOWN, Inputs, Plain, Split
from ssl_cli.methods.base import Method, accuracy
from ssl_cli.randomness import generator
from ssl_cli.training.device import Machine

BATCH = 1000
NEIGHBOURS = 20


@torch.inference_mode()
def outputs(network: nn.Module, inputs: Inputs, plain: Plain, machine: Machine) -> Tensor:
    """What a network in evaluation mode gives for inputs as they are: N of them → float32 (N, D) on the CPU."""
    was_training = network.training
    network.eval()
    given = []
    for part in inputs.split(BATCH):
        with machine.autocast():
            given.append(network(machine.layout(plain(part, machine.device))).float().cpu())
    network.train(was_training)
    return torch.cat(given)


def class_accuracy(network: nn.Module, split: Split, plain: Plain, machine: Machine) -> float:
    """The share of a split that a classifier gets right."""
    return float(accuracy(outputs(network, split.inputs, plain, machine), split.labels))


def knn_accuracy(bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor, neighbours: int) -> float:
    """Vote of the nearest by cosine, each with weight exp(cosine / 0.1) (Wu et al., 2018, section 3.4).

    (N, D), (N,), (M, D), (M,) → the share of queries that the vote gets right.
    """
    bank = F.normalize(bank, dim=1).T
    votes = torch.zeros(len(queries), int(bank_labels.max()) + 1)
    for part, given in zip(F.normalize(queries, dim=1).split(BATCH), votes.split(BATCH), strict=True):
        weights, nearest = (part @ bank).topk(min(neighbours, bank.shape[1]), dim=1)
        given.scatter_add_(1, bank_labels[nearest], (weights / 0.1).exp())
    return float(accuracy(votes, query_labels))


def nearest(queries: Tensor, bank: Tensor) -> Tensor:
    """Which of the bank is nearest by cosine to each query: (N, D), (M, D) → int64 (N,)."""
    bank = F.normalize(bank, dim=1).T
    return torch.cat([(part @ bank).argmax(1) for part in F.normalize(queries, dim=1).split(BATCH)])


def knn_monitor(
    split: Split, cases: Tensor | None, plain: Plain, machine: Machine, seed: int
) -> Callable[[Method], dict[str, float]]:
    """The kNN accuracy of a method's backbone on held-apart training items: a display, by training labels, of progress.

    At most 4,000 items vote on at most 1,000 others. Nothing is chosen by it and no test item is touched.
    Inputs of one case stand on one side, but for one case that may stand between: they would know each other again.
    """
    known = (split.labels != UNKNOWN).nonzero()[:, 0]
    mixed = known[torch.randperm(len(known), generator=generator(seed, "knn"))]
    if cases is not None:
        _, which = cases.unique(return_inverse=True)
        mixed = mixed[torch.randperm(int(which.max()) + 1, generator=generator(seed, "knn"))[which[mixed]].argsort()]
    asked = min(1000, len(mixed) // 5)
    queries, bank = mixed[:asked], mixed[asked : asked + 4000]

    def monitor(method: Method) -> dict[str, float]:
        if not asked:
            return {}
        features = outputs(method.backbone, split.inputs[torch.cat([queries, bank])], plain, machine)
        voted = knn_accuracy(features[asked:], split.labels[bank], features[:asked], split.labels[queries], NEIGHBOURS)
        return {"knn_accuracy": voted}

    return monitor
