"""Context encoders: inpaint a masked region from its surroundings (Pathak et al., 2016)."""

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Fraction, NonNegative, NonNegativeInt, Shape
from ssl_cli.methods.base import Method
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.critic import Critic, critic_accuracy, critic_loss, frozen, generator_loss
from ssl_cli.models.decoders import Refinement
from ssl_cli.randomness import Draws


class Inpainting(Method):
    """Predict the pixels of a masked region from the rest of the input, optionally with an adversarial loss.

    Args:
        backbone: the encoder; its last feature maps, before pooling, pass through `ChannelWise` into the decoder.
        shape, scale: of the inputs.
        mask: a square in the middle (`central`), or irregular regions anywhere (`random`).
        mask_ratio: fraction of the input that is masked.
        overlap: pixels around the masked region that are predicted too, so that the result matches its surroundings.
        overlap_weight: of the error there, relative to 1 inside the region.
        adversarial: weight of the adversarial loss; the squared error weighs 1 − `adversarial`. 0: no critic.
        width: channels of the decoder at full resolution, and of the critic's first convolution.
    """

    def __init__(
        self,
        backbone: Backbone,
        shape: Shape,
        scale: float,
        mask: Literal["central", "random"],
        mask_ratio: Annotated[float, "[0.05, 0.75]"],
        overlap: NonNegativeInt,
        overlap_weight: NonNegative,
        adversarial: Fraction,
        width: Count,
    ):
        super().__init__(backbone)
        if overlap >= min(shape[1:]):
            raise ValueError(
                f"overlap={overlap}: is as wide as inputs of {shape[1]}×{shape[2]}; must be less than a side"
            )
        self.scale = scale
        self.mask = mask
        self.mask_ratio = mask_ratio
        self.overlap, self.overlap_weight = overlap, overlap_weight
        self.adversarial = adversarial
        channels, rows, columns = self._shape_of_maps(shape)
        self.decoder = nn.Sequential(
            ChannelWise(channels, rows * columns),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            Refinement(channels, (rows, columns), shape, width),
        )
        self.critic = Critic(shape, width) if adversarial else None

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of reconstruction and adversarial loss (section 3.2, equation 3), plus the critic's own loss.

        The critic sees the masked region only; with its surroundings, the seam would give predictions away.
        """
        (view,) = views
        masks = draw_masks(view, self.mask, self.mask_ratio, draws)
        predictions, targets = self._inpaint(view, masks), view / self.scale
        numbers = {"masked_error": weighted_mse(predictions.detach(), targets, masks)}
        error = weighted_mse(predictions, targets, error_weights(masks, self.overlap, self.overlap_weight))
        critic = self.critic
        if critic is None:
            return error, numbers
        real, fake = critic(targets * masks), critic(predictions.detach() * masks)
        with frozen(critic):
            adversarial = generator_loss(critic(predictions * masks))
        loss = (1 - self.adversarial) * error + self.adversarial * adversarial + critic_loss(real, fake)
        return loss, {**numbers, "pretext_accuracy": critic_accuracy(real, fake)}

    def pictures(self, views: tuple[Tensor, ...], draws: Draws) -> dict[str, Tensor]:
        """Views, masked views, and views with the masked region inpainted."""
        (view,) = views
        masks = draw_masks(view, self.mask, self.mask_ratio, draws)
        predictions = self._inpaint(view, masks) * self.scale
        return {
            "view": view,
            "masked": fill_with_mean(view, masks),
            "inpainted": torch.where(masks > 0, predictions, view),
        }

    def _inpaint(self, view: Tensor, masks: Tensor) -> Tensor:
        return self.decoder(self.backbone.maps(fill_with_mean(view, masks))).float().sigmoid()

    @torch.no_grad()
    def _shape_of_maps(self, shape: Shape) -> tuple[int, int, int]:
        self.backbone.eval()  # or the zeros would enter batch norm's running statistics
        maps = self.backbone.maps(torch.zeros(1, *shape))
        self.backbone.train()
        _, channels, rows, columns = maps.shape
        return channels, rows, columns


class ChannelWise(nn.Module):
    """The channel-wise fully connected layer: a full matrix between the positions of each channel (section 3.1).

    It passes information across the whole map with channels · positions² weights; a 1×1 convolution after it mixes channels.
    """

    def __init__(self, channels: int, positions: int):
        super().__init__()
        bound = positions**-0.5
        self.weight = nn.Parameter(torch.empty(channels, positions, positions).uniform_(-bound, bound))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, channels, H, W), positions = H · W."""
        mixed = torch.einsum("bcp,cpq->bcq", maps.flatten(2), self.weight)
        return mixed.unflatten(2, maps.shape[2:])


def draw_masks(images: Tensor, kind: str, ratio: float, draws: Draws) -> Tensor:
    """A mask for each image, 1 inside the masked region and 0 elsewhere: (B, C, H, W) → (B, 1, H, W).

    `central` is the same square in every image. `random` masks the pixels where smooth noise is highest, drawn for each image.
    """
    count, _, height, width = images.shape
    if kind == "random":
        noise = F.interpolate(draws.uniform(count, 1, 4, 4), (height, width), mode="bicubic")
        threshold = noise.flatten(1).quantile(1 - ratio, dim=1)
        return (noise > threshold.view(-1, 1, 1, 1)).to(images.dtype)
    masks = images.new_zeros(count, 1, height, width)
    top, left = (round(side * (1 - math.sqrt(ratio)) / 2) for side in (height, width))
    masks[:, :, top : height - top, left : width - left] = 1
    return masks


def fill_with_mean(images: Tensor, masks: Tensor) -> Tensor:
    """Masked pixels replaced by the mean colour of the visible ones: (B, C, H, W), (B, 1, H, W) → (B, C, H, W)."""
    visible = 1 - masks
    mean = (images * visible).sum((2, 3), keepdim=True) / visible.sum((2, 3), keepdim=True)
    return torch.where(masks > 0, mean, images)


def error_weights(masks: Tensor, overlap: int, weight: float) -> Tensor:
    """The weight of each pixel's error: 1 where masked, `weight` up to `overlap` pixels around, 0 elsewhere.

    The paper has such a band around central squares; around irregular regions it follows their outline. (B, 1, H, W) → same.
    """
    wider = F.max_pool2d(masks, 2 * overlap + 1, stride=1, padding=overlap)
    return masks + weight * (wider - masks)


def weighted_mse(predictions: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of squared errors (equation 1): (B, C, H, W), (B, C, H, W), (B, 1, H, W) → scalar."""
    squares = (predictions - targets).square().mean(1, keepdim=True)
    return (squares * weights).sum() / weights.sum()
