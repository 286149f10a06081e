"""Masked autoencoders (He et al., 2022)."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Positive, Shape
from ssl_cli.methods.base import Method
from ssl_cli.models.backbones.vit import Block, VisionTransformer, position_embeddings
from ssl_cli.randomness import Draws

EPSILON = 1e-6  # added to the variance of a patch, which is 0 where the patch has one colour


class MAE(Method):
    """Reconstruct the masked patches of an input, which are most of it, from the visible ones.

    The encoder sees the visible patches only, so a step costs a fraction of a full one. A light decoder, discarded after
    pre-training, gets the encoder's tokens at their positions and a learnt mask token at all others.

    Args:
        backbone: the encoder, a vision transformer.
        shape, scale: of the inputs.
        mask_ratio: fraction of patches that are masked, drawn anew for each input.
        normalise_targets: standardise the pixels of each target patch to mean 0 and standard deviation 1.
        width: of the decoder's tokens.
        depth: number of decoder blocks.
        heads: attention heads in each decoder block.
        mlp_ratio: width of a decoder block's hidden layer over `width`.

    Raises:
        ValueError: the backbone is no vision transformer, no patch is masked or none visible, or `width` does not fit.
    """

    backbone: VisionTransformer  # pyright: ignore[reportIncompatibleVariableOverride]  # the constructor takes no other

    def __init__(
        self,
        backbone: VisionTransformer,
        shape: Shape,
        scale: float,
        mask_ratio: Annotated[float, "(0, 1)"],
        normalise_targets: bool,
        width: Count,
        depth: Annotated[int, "[1, 200]"],
        heads: Count,
        mlp_ratio: Positive,
    ):
        super().__init__(backbone)
        if not isinstance(backbone, VisionTransformer):
            raise ValueError("masks patches, which only backbone=vit has")
        if width % heads or width % 4:
            raise ValueError(
                f"width={width}: must be a multiple of heads={heads}, and of 4 for position embeddings in 2D"
            )
        self.patch = backbone.patch
        self.size = (shape[1] // self.patch, shape[2] // self.patch)
        self.patches = self.size[0] * self.size[1]
        self.masked = round(mask_ratio * self.patches)
        if not 0 < self.masked < self.patches:
            raise ValueError(
                f"mask_ratio={mask_ratio:g}: masks {self.masked} of {self.patches} patches; "
                "at least one must be masked and one visible"
            )
        self.scale = scale
        self.normalise_targets = normalise_targets
        self.embed = nn.Linear(backbone.dim, width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.Sequential(*(Block(width, heads, mlp_ratio) for _ in range(depth)), nn.LayerNorm(width))
        self.predict = nn.Linear(width, shape[0] * self.patch**2)

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean squared error of the masked patches (section 3, "Reconstruction target")."""
        (view,) = views
        visible, masked = self.draw_mask(len(view), draws)
        targets, _, _ = self._targets(view)
        loss = masked_mse(self.reconstruct(view, visible), targets, masked)
        return loss, {"masked_error": loss.detach()}

    def pictures(self, views: tuple[Tensor, ...], draws: Draws) -> dict[str, Tensor]:
        """Views, masked views, and reconstructions; normalised patches get their mean and standard deviation back."""
        (view,) = views
        visible, masked = self.draw_mask(len(view), draws)
        _, mean, std = self._targets(view)
        pixels, index = patchify(view, self.patch), masked[..., None].expand(-1, -1, self.predict.out_features)
        predicted = ((self.reconstruct(view, visible) * std + mean) * self.scale).clamp(0, self.scale)
        rows = {
            "view": pixels,
            "masked": pixels.scatter(1, index, self.scale / 2),
            "reconstructed": pixels.scatter(1, index, predicted.gather(1, index)),
        }
        return {name: unpatchify(patches, self.patch, self.size) for name, patches in rows.items()}

    def draw_mask(self, count: int, draws: Draws) -> tuple[Tensor, Tensor]:
        """Indices of the visible and of the masked patches of each input: int64 (B, N − masked), (B, masked)."""
        shuffled = draws.uniform(count, self.patches).argsort(1)
        return shuffled[:, self.masked :], shuffled[:, : self.masked]

    def reconstruct(self, view: Tensor, visible: Tensor) -> Tensor:
        """All patches of an input, predicted from the visible ones: (B, C, H, W), (B, V) → (B, N, C · patch²)."""
        encoded = self.embed(self.backbone.encode_patches(view, visible)).float()
        width = encoded.shape[2]
        index = visible[..., None].expand_as(encoded)
        tokens = self.mask_token.expand(len(view), self.patches, -1).scatter(1, index, encoded)
        tokens = tokens + position_embeddings(width, *self.size, view.device).flatten(1).T
        return self.predict(self.blocks(tokens)).float()

    def _targets(self, view: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The target of each patch, and the mean and standard deviation that were removed; 0 and 1 if none were."""
        pixels = patchify(view / self.scale, self.patch)
        mean, std = torch.zeros_like(pixels[..., :1]), torch.ones_like(pixels[..., :1])
        if self.normalise_targets:
            mean, std = pixels.mean(2, keepdim=True), (pixels.var(2, keepdim=True) + EPSILON).sqrt()
        return (pixels - mean) / std, mean, std


def patchify(images: Tensor, patch: int) -> Tensor:
    """The pixels of each patch, row by row: (B, C, H, W) → (B, N, C · patch²)."""
    return F.unfold(images, patch, stride=patch).mT


def unpatchify(patches: Tensor, patch: int, size: tuple[int, int]) -> Tensor:
    """The inverse of `patchify`, for `size` patches down and across: (B, N, C · patch²) → (B, C, H, W)."""
    return F.fold(patches.mT, tuple(patch * side for side in size), patch, stride=patch)


def masked_mse(predictions: Tensor, targets: Tensor, masked: Tensor) -> Tensor:
    """The mean squared error of the patches with these indices: (B, N, P), (B, N, P), int64 (B, M) → scalar."""
    return (predictions - targets).square().mean(2).gather(1, masked).mean()
