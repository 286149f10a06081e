"""Masked autoencoders (He et al., 2022)."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Positive, Shape
from ssl_cli.methods.base import Method
from ssl_cli.models.backbones.vit import Block, VisionTransformer, positions

FLAT = 1e-6  # added to the variance of a patch, which may be of one colour


class MAE(Method):
    """Give back most patches of an input from the few that are seen.

    The encoder gets the patches that are seen and nothing in the others' place, so a step costs a fraction of a whole
    one. A light decoder, thrown away afterwards, gets its tokens where they belong and one learnt token everywhere else.

    Args:
        backbone: the encoder, a vision transformer.
        shape, scale: of the inputs.
        share: of the patches that are hidden, drawn anew for each input.
        normalise: each wanted patch has mean 0 and deviation 1, so that its pattern counts and not how bright or strong it is.
        width: numbers in a token of the decoder.
        depth: its blocks.
        heads: of each of its attentions.
        ratio: of a block's hidden layer to a token.

    Raises:
        ValueError: the backbone has no patches, none is hidden or none seen, or tokens cannot be cut into heads.
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        shape: Shape,
        scale: float,
        share: Annotated[float, "(0, 1)"],
        normalise: bool,
        width: Count,
        depth: Annotated[int, "[1, 200]"],
        heads: Count,
        ratio: Positive,
    ):
        super().__init__(backbone)
        if not isinstance(backbone, VisionTransformer):
            raise ValueError("hides patches, which only backbone=vit has")
        if width % heads or width % 4:
            raise ValueError(f"width={width}: must be a multiple of heads={heads}, and of 4 for positions in the plane")
        self.patch = backbone.patch
        self.size = tuple(side // self.patch for side in shape[1:])
        self.patches = self.size[0] * self.size[1]
        self.hidden = round(share * self.patches)
        if not 0 < self.hidden < self.patches:
            raise ValueError(
                f"share={share:g}: hides {self.hidden} of {self.patches} patches; some must be hidden and some seen"
            )
        self.scale = scale
        self.normalise = normalise
        self.enter = nn.Linear(backbone.dim, width)
        self.unseen = nn.Parameter(0.02 * torch.randn(width))
        self.blocks = nn.Sequential(*(Block(width, heads, ratio) for _ in range(depth)), nn.LayerNorm(width))
        self.paint = nn.Linear(width, shape[0] * self.patch**2)

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean squared error of the hidden patches (section 3, "Reconstruction target"); seen ones do not count."""
        (view,) = views
        seen, hidden = self.split(len(view), view.device)
        wanted, _, _ = self._wanted(view)
        loss = hidden_error(self.painted(view, seen), wanted, hidden)
        return loss, {"hidden_error": loss.detach()}

    def pictures(self, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Views, what is seen of them, and the rest painted; normalised patches get back the mean and deviation they had."""
        (view,) = views
        seen, hidden = self.split(len(view), view.device)
        _, mean, deviation = self._wanted(view)
        pixels, under = cut(view, self.patch), hidden[..., None].expand(-1, -1, self.paint.out_features)
        painted = ((self.painted(view, seen) * deviation + mean) * self.scale).clamp(0, self.scale)
        rows = {
            "view": pixels,
            "masked": pixels.scatter(1, under, self.scale / 2),
            "reconstructed": pixels.scatter(1, under, painted.gather(1, under)),
        }
        return {name: joined(patches, self.patch, self.size) for name, patches in rows.items()}

    def split(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The numbers of the patches that are seen and of those that are hidden: (B, N − hidden), (B, hidden)."""
        mixed = torch.rand(count, self.patches, device=device).argsort(1)
        return mixed[:, self.hidden :], mixed[:, : self.hidden]

    def painted(self, view: Tensor, seen: Tensor) -> Tensor:
        """All patches of an input, from those that are seen: (B, C, H, W), (B, S) → (B, N, C · patch²)."""
        known = self.enter(self.backbone.of_some(view, seen)).float()
        width = known.shape[2]
        tokens = self.unseen.expand(len(view), self.patches, -1).scatter(1, seen[..., None].expand_as(known), known)
        tokens = tokens + positions(width, *self.size, view.device).flatten(1).T
        return self.paint(self.blocks(tokens)).float()

    def _wanted(self, view: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each patch should be, with the mean and deviation that were taken out of it; 0 and 1 where none were."""
        pixels = cut(view / self.scale, self.patch)
        mean, deviation = torch.zeros_like(pixels[..., :1]), torch.ones_like(pixels[..., :1])
        if self.normalise:
            mean, deviation = pixels.mean(2, keepdim=True), (pixels.var(2, keepdim=True) + FLAT).sqrt()
        return (pixels - mean) / deviation, mean, deviation


def cut(images: Tensor, patch: int) -> Tensor:
    """The pixels of each patch, row by row of patches: (B, C, H, W) → (B, N, C · patch²)."""
    return F.unfold(images, patch, stride=patch).mT


def joined(patches: Tensor, patch: int, size: tuple[int, int]) -> Tensor:
    """Patches where they belong, `size` many down and across; undoes `cut`: (B, N, C · patch²) → (B, C, H, W)."""
    return F.fold(patches.mT, tuple(patch * side for side in size), patch, stride=patch)


def hidden_error(painted: Tensor, wanted: Tensor, hidden: Tensor) -> Tensor:
    """The mean squared error of the patches with these numbers: (B, N, P) twice, (B, M) → scalar."""
    return (painted - wanted).square().mean(2).gather(1, hidden).mean()
