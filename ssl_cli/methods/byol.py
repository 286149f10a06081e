"""BYOL: bootstrap your own latent (Grill et al., 2020)."""

import torch
from torch import Tensor

from ssl_cli.config.schema import Count, Fraction
from ssl_cli.data.token_batch import joined
from ssl_cli.data.types import View
from ssl_cli.methods.base import Projecting, embedding_spread
from ssl_cli.methods.parts.ema_teacher import copy_as_teacher, cosine_momentum, update_teacher
from ssl_cli.methods.simsiam import negative_cosine, predictor
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.randomness import Draws


class BYOL(Projecting):
    """Predict the EMA teacher's embedding of one view from the other view of the same input; there are no negatives.

    Args:
        backbone, head: the student; the teacher (the paper's target network) starts as a copy of it.
        predictor_width: width of the predictor's hidden layer.
        momentum: of the teacher at step 0; it rises to 1 along a cosine.
    """

    n_views = 2

    def __init__(self, backbone: Backbone, head: HeadFactory, predictor_width: Count, momentum: Fraction):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.predictor = predictor(self.head.outputs, predictor_width)
        self.momentum = momentum
        self.teacher = copy_as_teacher(self.backbone, self.head)

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The squared distance between normalised predictions and targets, summed over both views (equations 2 and 3): 0 to 8."""
        z0, z1 = self.project(views)
        p0, p1 = self.predictor(torch.cat([z0, z1])).float().chunk(2)
        with torch.no_grad():
            target0, target1 = self.teacher(joined(views)).float().chunk(2)
        loss = 4 + 2 * negative_cosine(p0, target1) + 2 * negative_cosine(p1, target0)
        return loss, {"spread": embedding_spread(torch.cat([z0, z1]))}

    def after_step(self, step: int, steps: int) -> None:
        """Update the teacher (section 3.2)."""
        update_teacher(self.teacher, [self.backbone, self.head], cosine_momentum(self.momentum, step, steps))
