"""Autoencoders, plain (Hinton & Salakhutdinov, 2006) and denoising (Vincent et al., 2008)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.schema import Count, Fraction, Shape
from ssl_cli.methods.base import Method
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.decoders import Decoder
from ssl_cli.randomness import Draws


class Autoencoder(Method):
    """Reconstruct an input from its features; with `noise`, from the features of a corrupted copy of it.

    Args:
        backbone: the encoder; its features are the latent vector.
        shape, scale: of the inputs.
        noise: fraction of pixels set to zero in the encoder's input (masking noise), drawn anew each time.
        error: `squared`, or `cross_entropy` with each pixel as a probability, whose minimum is the input's entropy and not 0.
        width: channels of the decoder at full resolution.
    """

    def __init__(
        self,
        backbone: Backbone,
        shape: Shape,
        scale: float,
        noise: Fraction,
        error: Literal["squared", "cross_entropy"],
        width: Count,
    ):
        super().__init__(backbone)
        self.decoder = Decoder(backbone.dim, shape, width)
        self.scale = scale
        self.noise = noise
        self.error = error

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean error over all pixels, masked or not, with pixel values scaled to 0–1."""
        (view,) = views
        logits = self.decoder(self.backbone(mask_pixels(view, self.noise, draws))).float()
        targets = view / self.scale
        squared = F.mse_loss(logits.sigmoid(), targets)
        loss = squared if self.error == "squared" else F.binary_cross_entropy_with_logits(logits, targets)
        return loss, {"squared_error": squared.detach()}

    def pictures(self, views: tuple[Tensor, ...], draws: Draws) -> dict[str, Tensor]:
        """Views, their corrupted copies if there is noise, and reconstructions."""
        (view,) = views
        corrupted = mask_pixels(view, self.noise, draws)
        reconstructed = self.decoder(self.backbone(corrupted)).sigmoid() * self.scale
        return {"view": view, **({"masked": corrupted} if self.noise else {}), "reconstructed": reconstructed}


def mask_pixels(images: Tensor, ratio: float, draws: Draws) -> Tensor:
    """Set each pixel, all its channels at once, to zero with probability `ratio`: (B, C, H, W) → (B, C, H, W)."""
    count, _, height, width = images.shape
    return images * (draws.uniform(count, 1, height, width) >= ratio) if ratio else images
