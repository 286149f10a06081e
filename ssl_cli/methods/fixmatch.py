"""What a network is sure of in a weak view, it learns for a strong one (FixMatch; Sohn et al., 2020)."""

import copy
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.methods.base import Method, accuracy
from ssl_cli.methods.supervised import Supervised


def consistency(weak: Tensor, strong: Tensor, threshold: float, temperature: float) -> tuple[Tensor, Tensor]:
    """The unlabelled part of the loss (Sohn et al., 2020, equation 4), and the share of inputs that count in it.

    The weak view's answer is the target of the strong one where the probability of its first choice reaches `threshold`; the
    mean is over all inputs, those included that do not count. At a `temperature` of 0 the first choice is the whole target,
    above it the target is all that was answered, sharpened. No gradient passes the targets. Logits (U, C), (U, C) →
    scalar, scalar.
    """
    sureness, targets = F.softmax(weak.detach(), dim=1).max(1)
    if temperature:
        targets = F.softmax(weak.detach() / temperature, dim=1)
    sure = (sureness >= threshold).float()
    return (F.cross_entropy(strong, targets, reduction="none") * sure).mean(), sure.mean()


class FixMatch(Method):
    """A classifier of labelled weak views and of strong views that it has labelled itself.

    Its answers are those of a running average of its weights.

    Args:
        backbone, head: the network.
        labeller: what answers to weak views: the network that learns, as in the paper, or its average in evaluation, which
            errs less and costs no gradient (a mean teacher; Tarvainen and Valpola, 2017).
        threshold: the probability from which on an answer is a label.
        temperature: of the answers that are learnt (see `consistency`).
        weight: of the unlabelled part (λ_u).
        momentum: of the running average.
    """

    n_views = 2

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        labeller: Literal["network", "average"],
        threshold: float,
        temperature: float,
        weight: float,
        momentum: float,
    ):
        super().__init__(backbone)
        self.labeller = labeller
        self.head = head
        self.average = copy.deepcopy(Supervised(backbone, head, label_smoothing=0.0)).requires_grad_(False)
        self.threshold, self.temperature = threshold, temperature
        self.weight, self.momentum = weight, momentum

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, …) → logits (B, classes) of the average."""
        return self.average(inputs)

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the labels + λ_u · `consistency`; all that the network sees passes through it as one batch.

        Args:
            views: weak views of the labelled inputs, then of the U others (L + U, C, H, W); strong ones of those (U, C, H, W).
            labels: int64 (L + U,), of which the first L are known.
        """
        weak, strong = views
        unlabelled = len(strong)
        labelled = len(weak) - unlabelled
        if self.labeller == "network":
            logits = self.head(self.backbone(torch.cat(views))).float()
            of_labelled, of_weak, of_strong = logits.split((labelled, unlabelled, unlabelled))
        else:
            logits = self.head(self.backbone(torch.cat([weak[:labelled], strong]))).float()
            of_labelled, of_strong = logits.split((labelled, unlabelled))
            with torch.no_grad():
                of_weak = self.average.eval()(weak[labelled:]).float()
        known = labels[:labelled]
        unsupervised, sure = consistency(of_weak, of_strong, self.threshold, self.temperature)
        loss = F.cross_entropy(of_labelled, known) + self.weight * unsupervised
        return loss, {"accuracy": accuracy(of_labelled, known), "sure": sure}

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        """The average moves towards the network: weights, and what batch norm has gathered."""
        ours = {**self.backbone.state_dict(prefix="backbone."), **self.head.state_dict(prefix="head.")}
        for name, kept in self.average.state_dict().items():
            if kept.is_floating_point():
                kept.lerp_(ours[name], 1 - self.momentum)
            else:
                kept.copy_(ours[name])  # how many batches batch norm has seen
