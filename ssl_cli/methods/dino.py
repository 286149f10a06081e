"""DINO: self-distillation with no labels (Caron et al., 2021), with two views."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Part, Positive
from ssl_cli.methods.base import Method, embedding_spread
from ssl_cli.methods.parts.ema_teacher import follow, follower_of, rising
from ssl_cli.methods.parts.prototypes import Prototypes


class DINO(Method):
    """From each view of an input a follower's answer to the other is learnt, as if prototypes were classes.

    The follower's answers are sharpened, so that they do not become all alike, and what it says on average is taken off
    them, so that no one class wins.

    Args:
        backbone, head: the network; its projections are compared with the prototypes.
        prototypes: how many.
        temperature: of the network's answers.
        sharpness: the follower's temperature, lower than the network's.
        centring: share of the mean answer that stays after a step.
        momentum: share of the follower that stays after the first step; it rises to 1.
    """

    n_views = 2

    def __init__(
        self,
        backbone: nn.Module,
        head,
        prototypes: Count,
        temperature: Positive,
        sharpness: Positive,
        centring: Part,
        momentum: Part,
    ):
        super().__init__(backbone)
        if sharpness > temperature:
            raise ValueError(f"sharpness={sharpness}: must be at most temperature={temperature}, to sharpen")
        self.head = head(inputs=backbone.dim)
        self.prototypes = Prototypes(self.head.outputs, prototypes)
        self.temperature = temperature
        self.sharpness = sharpness
        self.centring = centring
        self.momentum = momentum
        self.follower = follower_of(self.backbone, self.head, self.prototypes)
        self.register_buffer("centre", torch.zeros(prototypes))

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean cross-entropy of each view's answer with the follower's answer to the other (equation 3).

        `target_entropy` is that of the follower's mean answer over its largest value, ln K: 0 where one class has won.
        """
        z = torch.cat(self.projected(views))
        answer0, answer1 = (self.prototypes(z) / self.temperature).chunk(2)
        with torch.no_grad():
            theirs = self.follower(torch.cat(views))
            wanted = F.softmax((theirs - self.centre) / self.sharpness, dim=1)
            self.centre.lerp_(theirs.mean(0), 1 - self.centring)
            mean = wanted.mean(0)
            entropy = torch.special.entr(mean).sum() / torch.tensor(float(len(mean)), device=mean.device).log()
        wanted0, wanted1 = wanted.chunk(2)
        loss = (F.cross_entropy(answer0, wanted1) + F.cross_entropy(answer1, wanted0)) / 2
        return loss, {"spread": embedding_spread(z), "target_entropy": entropy}

    def after_step(self, step: int, steps: int) -> None:
        """The follower moves towards the network, ever less (section 3.1)."""
        follow(self.follower, [self.backbone, self.head, self.prototypes], rising(self.momentum, step, steps))
