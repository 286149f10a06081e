"""Pseudo-labels from weak views, learnt on strong views (FixMatch; Sohn et al., 2020)."""

import copy
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.token_batch import joined
from ssl_cli.data.types import View
from ssl_cli.methods.base import Classifier, accuracy, given
from ssl_cli.methods.supervised import Supervised
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.randomness import Draws


def consistency(weak: Tensor, strong: Tensor, threshold: float, temperature: float) -> tuple[Tensor, Tensor]:
    """The unlabelled loss (Sohn et al., 2020, equation 4), and the fraction of inputs whose pseudo-label is confident.

    The prediction for the weak view is the target of the strong one if its highest probability is at least `threshold`; the mean
    is over all inputs, including those below it. No gradient passes through the targets.

    Args:
        weak, strong: logits (U, C) each.
        threshold: of the highest probability.
        temperature: 0 for hard targets (the argmax), otherwise soft targets sharpened by it.
    """
    confidence, targets = F.softmax(weak.detach(), dim=1).max(1)
    if temperature:
        targets = F.softmax(weak.detach() / temperature, dim=1)
    confident = (confidence >= threshold).float()
    return (F.cross_entropy(strong, targets, reduction="none") * confident).mean(), confident.mean()


class FixMatch(Classifier):
    """A classifier trained on labelled weak views, and on strong views of unlabelled inputs with pseudo-labels.

    Predictions are those of an EMA teacher: an exponential moving average of the weights.

    Args:
        backbone, head: the student.
        pseudo_labels_from: the `student`, as in the paper, or the `ema_teacher` in evaluation mode, which errs less and needs no
            gradient (mean teacher; Tarvainen and Valpola, 2017).
        threshold: lowest confidence of a pseudo-label.
        temperature: of the pseudo-labels (see `consistency`).
        unlabelled_weight: of the unlabelled loss (λ_u).
        momentum: of the EMA teacher.
    """

    n_views = 2

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        pseudo_labels_from: Literal["student", "ema_teacher"],
        threshold: float,
        temperature: float,
        unlabelled_weight: float,
        momentum: float,
    ):
        super().__init__(backbone)
        self.pseudo_labels_from = pseudo_labels_from
        self.head = head
        self.teacher = copy.deepcopy(Supervised(backbone, head, label_smoothing=0.0)).requires_grad_(False)
        self.threshold, self.temperature = threshold, temperature
        self.unlabelled_weight, self.momentum = unlabelled_weight, momentum

    def forward(self, inputs: Tensor) -> Tensor:
        """The EMA teacher's logits: (B, …) → (B, classes)."""
        return self.teacher(inputs)

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the labels + λ_u · `consistency`; all of the student's inputs pass through it as one batch.

        Args:
            views: weak views of L labelled, then U unlabelled inputs (L + U, C, H, W); strong views of the latter (U, C, H, W).
            labels: int64 (L + U,), of which the first L are known.
        """
        weak, strong = views
        unlabelled = len(strong)
        labelled = len(weak) - unlabelled
        if self.pseudo_labels_from == "student":
            logits = self.head(self.backbone(joined(views))).float()
            of_labelled, of_weak, of_strong = logits.split((labelled, unlabelled, unlabelled))
        else:
            logits = self.head(self.backbone(joined([weak[:labelled], strong]))).float()
            of_labelled, of_strong = logits.split((labelled, unlabelled))
            with torch.no_grad():
                of_weak = self.teacher.eval()(weak[labelled:]).float()
        known = given(labels)[:labelled]
        unsupervised, confident_fraction = consistency(of_weak, of_strong, self.threshold, self.temperature)
        loss = F.cross_entropy(of_labelled, known) + self.unlabelled_weight * unsupervised
        return loss, {"accuracy": accuracy(of_labelled, known), "confident_fraction": confident_fraction}

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        """Update the EMA teacher: its weights and its batch norm statistics."""
        student = {**self.backbone.state_dict(prefix="backbone."), **self.head.state_dict(prefix="head.")}
        for name, value in self.teacher.state_dict().items():
            if value.is_floating_point():
                value.lerp_(student[name], 1 - self.momentum)
            else:
                value.copy_(student[name])  # batch norm's count of batches
