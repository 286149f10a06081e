"""Context encoders: paint what a hole hides (Pathak et al., 2016)."""

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Amount, Count, NotNegative, Part, Shape
from ssl_cli.methods.base import Method
from ssl_cli.models.critic import Critic, calls_right, deception, detection, untaught
from ssl_cli.models.decoders import Refinement


class Inpainting(Method):
    """Paint what is under a hole from what is around it; a critic may say whether it looks real.

    Args:
        backbone: the encoder; its maps, before they are averaged, go through `ChannelWise` into the decoder.
        shape, scale: of the inputs.
        holes: a square in the middle (`central`), or shapeless regions anywhere (`random`).
        share: of the input that is under holes.
        overlap: pixels of what is around a hole that must be painted as well, so that the painting joins its edge.
        overlap_weight: what an error there counts, one under the hole being 1.
        adversarial: the critic's weight; the squared error's is 1 − `adversarial`. 0: no critic; 1: no squared error.
        width: channels of the decoder at full size, and of the critic after its first convolution.
    """

    def __init__(
        self,
        backbone: nn.Module,
        shape: Shape,
        scale: float,
        holes: Literal["central", "random"],
        share: Annotated[float, "[0.05, 0.75]"],
        overlap: NotNegative,
        overlap_weight: Amount,
        adversarial: Part,
        width: Count,
    ):
        super().__init__(backbone)
        if overlap >= min(shape[1:]):
            raise ValueError(
                f"overlap={overlap}: is as wide as inputs of {shape[1]}×{shape[2]}; must be less than a side"
            )
        self.scale = scale
        self.holes = holes
        self.share = share
        self.overlap, self.overlap_weight = overlap, overlap_weight
        self.adversarial = adversarial
        channels, *size = self._shape_of_maps(shape)
        self.paint = nn.Sequential(
            ChannelWise(channels, math.prod(size)),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            Refinement(channels, tuple(size), shape, width),
        )
        self.critic = Critic(shape, width) if adversarial else None

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of error and deception (section 3.2, equation 3), plus the critic's own loss.

        The critic gets what is under the hole and nothing of what is around it, by whose edge it could tell at once.
        """
        (view,) = views
        under = holes(view, self.holes, self.share)
        painted, wanted = self._painted(view, under), view / self.scale
        numbers = {"hole_error": hole_error(painted.detach(), wanted, under)}
        error = hole_error(painted, wanted, with_edge(under, self.overlap, self.overlap_weight))
        if not self.adversarial:
            return error, numbers
        real, made = self.critic(wanted * under), self.critic(painted.detach() * under)
        with untaught(self.critic):
            deceived = deception(self.critic(painted * under))
        loss = (1 - self.adversarial) * error + self.adversarial * deceived + detection(real, made)
        return loss, {**numbers, "pretext_accuracy": calls_right(real, made)}

    def pictures(self, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Views, the same with their holes, and the holes painted."""
        (view,) = views
        under = holes(view, self.holes, self.share)
        painted = self._painted(view, under) * self.scale
        return {"view": view, "hole": filled(view, under), "completed": torch.where(under > 0, painted, view)}

    def _painted(self, view: Tensor, under: Tensor) -> Tensor:
        return self.paint(self._maps(filled(view, under))).float().sigmoid()

    @torch.no_grad()
    def _shape_of_maps(self, shape: Shape) -> torch.Size:
        self.backbone.eval()  # batch norm's running means must not know of it
        maps = self._maps(torch.zeros(1, *shape))
        self.backbone.train()
        return maps.shape[1:]

    def _maps(self, inputs: Tensor) -> Tensor:
        for stage in self.backbone.stages:
            inputs = stage(inputs)
        return inputs


class ChannelWise(nn.Module):
    """A full matrix between all positions of each channel, and nothing between channels (section 3.1).

    It takes what is known at the edge to everywhere for channels · positions² weights, a 1×1 convolution behind it
    joining channels.
    """

    def __init__(self, channels: int, positions: int):
        super().__init__()
        bound = positions**-0.5
        self.weight = nn.Parameter(torch.empty(channels, positions, positions).uniform_(-bound, bound))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, channels, H, W), positions = H · W."""
        spread = torch.einsum("bcp,cpq->bcq", maps.flatten(2), self.weight)
        return spread.unflatten(2, maps.shape[2:])


def holes(images: Tensor, kind: str, share: float) -> Tensor:
    """1 under a hole and 0 elsewhere, for each of (B, C, H, W): (B, 1, H, W).

    Shapeless regions are where smooth noise is highest; each image has its own.
    """
    count, _, height, width = images.shape
    if kind == "random":
        noise = F.interpolate(torch.rand_like(images[:, :1, :4, :4]), (height, width), mode="bicubic")
        highest = noise.flatten(1).quantile(1 - share, dim=1)
        return (noise > highest.view(-1, 1, 1, 1)).to(images.dtype)
    under = images.new_zeros(count, 1, height, width)
    top, left = (round(side * (1 - math.sqrt(share)) / 2) for side in (height, width))
    under[:, :, top : height - top, left : width - left] = 1
    return under


def filled(images: Tensor, under: Tensor) -> Tensor:
    """Holes in the mean colour of what is around them: (B, C, H, W), (B, 1, H, W) → (B, C, H, W)."""
    around = 1 - under
    mean = (images * around).sum((2, 3), keepdim=True) / around.sum((2, 3), keepdim=True)
    return torch.where(under > 0, mean, images)


def with_edge(under: Tensor, overlap: int, weight: float) -> Tensor:
    """What an error counts: 1 under a hole, `weight` up to `overlap` pixels around it, 0 elsewhere.

    The paper has such a band around central holes; around shapeless ones it follows the shape. (B, 1, H, W) → the same.
    """
    wider = F.max_pool2d(under, 2 * overlap + 1, stride=1, padding=overlap)
    return under + weight * (wider - under)


def hole_error(painted: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of squared errors (equation 1): (B, C, H, W) twice, (B, 1, H, W) → scalar."""
    squares = (painted - wanted).square().mean(1, keepdim=True)
    return (squares * weights).sum() / weights.sum()
