"""Autoencoders, plain (Hinton & Salakhutdinov, 2006) and denoising (Vincent et al., 2008)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Part, Shape
from ssl_cli.methods.base import Method
from ssl_cli.models.decoders import Decoder


class Autoencoder(Method):
    """Give back an input from its features, or, with `noise`, from the features of what is left of it.

    Args:
        backbone: the encoder; its features are the code.
        shape, scale: of the inputs.
        noise: the share of pixels, drawn anew each time, that the encoder gets as zero.
        error: `squared`, or the `cross_entropy` of each pixel as a probability, whose least is not 0 but the input's entropy.
        width: channels of the decoder at full size.
    """

    def __init__(
        self,
        backbone: nn.Module,
        shape: Shape,
        scale: float,
        noise: Part,
        error: Literal["squared", "cross_entropy"],
        width: Count,
    ):
        super().__init__(backbone)
        self.decoder = Decoder(backbone.dim, shape, width)
        self.scale = scale
        self.noise = noise
        self.error = error

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean error of a pixel, in shares of the range, against the whole input, masked or not."""
        (view,) = views
        logits = self.decoder(self.backbone(masked(view, self.noise))).float()
        wanted = view / self.scale
        squared = F.mse_loss(logits.sigmoid(), wanted)
        loss = squared if self.error == "squared" else F.binary_cross_entropy_with_logits(logits, wanted)
        return loss, {"squared_error": squared.detach()}

    def pictures(self, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Views, what the encoder gets of them, and what comes back."""
        (view,) = views
        seen = masked(view, self.noise)
        given_back = self.decoder(self.backbone(seen)).sigmoid() * self.scale
        return {"view": view, **({"masked": seen} if self.noise else {}), "given back": given_back}


def masked(images: Tensor, share: float) -> Tensor:
    """Each pixel, all its channels at once, zero with this probability: (B, C, H, W) → (B, C, H, W)."""
    return images * (torch.rand_like(images[:, :1]) >= share) if share else images
