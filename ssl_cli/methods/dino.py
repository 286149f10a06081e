"""DINO: self-distillation with no labels (Caron et al., 2021), with two views."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.schema import Count, Fraction, Positive
from ssl_cli.data.token_batch import joined
from ssl_cli.data.types import View
from ssl_cli.methods.base import Projecting, embedding_spread
from ssl_cli.methods.parts.ema_teacher import copy_as_teacher, cosine_momentum, update_teacher
from ssl_cli.methods.parts.prototypes import Prototypes
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.processes import average
from ssl_cli.randomness import Draws


class DINO(Projecting):
    """Match the EMA teacher's softmax over prototypes for one view with the student's for the other view.

    Two things prevent collapse: a low temperature sharpens the teacher's distribution, so that it does not become
    uniform, and subtracting a running mean of its logits (centring) keeps any one prototype from dominating.

    Args:
        backbone, head: the student; prototype logits are cosines with its projections. The teacher starts as a copy.
        prototypes: number of prototypes, K.
        temperature: of the student's softmax.
        teacher_temperature: of the teacher's softmax; at most `temperature`.
        centre_momentum: momentum of the running mean of the teacher's logits.
        momentum: of the teacher at step 0; it rises to 1 along a cosine.

    Raises:
        ValueError: the teacher's temperature is above the student's.
    """

    n_views = 2
    centre: Tensor

    def __init__(
        self,
        backbone: Backbone,
        head: HeadFactory,
        prototypes: Count,
        temperature: Positive,
        teacher_temperature: Positive,
        centre_momentum: Fraction,
        momentum: Fraction,
    ):
        super().__init__(backbone)
        if teacher_temperature > temperature:
            raise ValueError(
                f"teacher_temperature={teacher_temperature}: must be at most temperature={temperature}, so that it sharpens"
            )
        self.head = head(inputs=backbone.dim)
        self.prototypes = Prototypes(self.head.outputs, prototypes)
        self.temperature = temperature
        self.teacher_temperature = teacher_temperature
        self.centre_momentum = centre_momentum
        self.momentum = momentum
        self.teacher = copy_as_teacher(self.backbone, self.head, self.prototypes)
        self.register_buffer("centre", torch.zeros(prototypes))

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The cross-entropy of the student's distribution for each view against the teacher's for the other (equation 3).

        `target_entropy` is the entropy of the teacher's mean distribution divided by ln K: 0 if one prototype takes everything.
        """
        z = torch.cat(self.project(views))
        logits0, logits1 = (self.prototypes(z) / self.temperature).chunk(2)
        with torch.no_grad():
            teacher_logits = self.teacher(joined(views))
            targets = F.softmax((teacher_logits - self.centre) / self.teacher_temperature, dim=1)
            self.centre.lerp_(average(teacher_logits.mean(0)), 1 - self.centre_momentum)
            mean = average(targets.mean(0))
            entropy = torch.special.entr(mean).sum() / torch.tensor(float(len(mean)), device=mean.device).log()
        target0, target1 = targets.chunk(2)
        loss = (F.cross_entropy(logits0, target1) + F.cross_entropy(logits1, target0)) / 2
        return loss, {"spread": embedding_spread(z), "target_entropy": entropy}

    def after_step(self, step: int, steps: int) -> None:
        """Update the teacher (section 3.1)."""
        student = [self.backbone, self.head, self.prototypes]
        update_teacher(self.teacher, student, cosine_momentum(self.momentum, step, steps))
