"""BYOL: bootstrap your own latent (Grill et al., 2020)."""

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Part
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.methods.parts.ema_teacher import follow, follower_of, rising
from ssl_cli.methods.simsiam import negative_cosine, predictor


class BYOL(Method):
    """From each view of an input a follower's embedding of the other is predicted; nothing repels.

    Args:
        backbone, head: the network, of which the follower is a copy.
        predictor_width: of the hidden layer of the predictor.
        momentum: share of the follower that stays after the first step; it rises to 1.
    """

    n_views = 2

    def __init__(self, backbone: nn.Module, head, predictor_width: Count, momentum: Part):
        super().__init__(backbone)
        self.head = head(inputs=backbone.dim)
        self.predictor = predictor(self.head.outputs, predictor_width)
        self.momentum = momentum
        self.follower = follower_of(self.backbone, self.head)

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The squared distance of unit prediction and unit target, of both views (equations 2 and 3), 0 to 8."""
        z0, z1 = self.projected(views)
        p0, p1 = self.predictor(torch.cat([z0, z1])).float().chunk(2)
        with torch.no_grad():
            wanted0, wanted1 = self.follower(torch.cat(views)).float().chunk(2)
        loss = 4 + 2 * negative_cosine(p0, wanted1) + 2 * negative_cosine(p1, wanted0)
        return loss, {"spread": embedding_spread(torch.cat([z0, z1]))}

    def after_step(self, step: int, steps: int) -> None:
        """The follower moves towards the network, ever less (section 3.2)."""
        follow(self.follower, [self.backbone, self.head], rising(self.momentum, step, steps))
