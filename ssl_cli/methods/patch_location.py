"""Context prediction: the relative position of two patches (Doersch et al., 2015)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Fraction, NonNegativeInt, Shape
from ssl_cli.methods.base import Answers, Method
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.batch_norm import keep_running_statistics
from ssl_cli.processes import weight
from ssl_cli.randomness import Draws

GRID = 3  # cells a side, numbered row by row
CENTRE = GRID**2 // 2
NEIGHBOURS = [cell for cell in range(GRID**2) if cell != CENTRE]  # the classes, in this order
COARSEST = 10 / 96  # the smallest side for downsampling, relative to the patch; at least 2 pixels
NOISE = 0.01  # standard deviation in a dropped channel, relative to that of the kept one


class PatchLocation(Method):
    """Predict from the centre patch of a 3×3 grid and one of its eight neighbours where the neighbour is.

    Every input gives all eight pairs, so the classes are balanced. The grid has a random position in the input.
    Pairs with a constant patch are uninformative and do not count.

    Features will be used on whole inputs, whose statistics differ from those of patches: batch norm gets both in separate
    batches, and only whole inputs enter its running statistics.

    Args:
        backbone: encodes each patch separately.
        shape: of the inputs.
        patch: side of a patch in pixels.
        gap: least distance between neighbours in pixels, so that lines do not continue from one to the other.
        jitter: largest random offset of a patch in its cell, in pixels; a cell's side is `patch` + `jitter`.
        coarse: fraction of patches that are downsampled and upsampled again, so that pixel-level detail is no cue.
        colour: chromatic aberration gives the position of a patch away. `drop` replaces all channels but one with noise
            (grey inputs are unchanged), `project` removes the green–magenta axis, `keep` does nothing.
        hidden: width of the hidden layer that gets both patches' features.

    Raises:
        ValueError: the grid does not fit into the inputs, a patch is too small for the backbone, or `project` gets no colours.
    """

    resampling: Tensor

    def __init__(
        self,
        backbone: Backbone,
        shape: Shape,
        patch: Count,
        gap: NonNegativeInt,
        jitter: NonNegativeInt,
        coarse: Fraction,
        colour: Literal["drop", "project", "keep"],
        hidden: Count,
    ):
        super().__init__(backbone)
        span = GRID * (patch + jitter) + (GRID - 1) * gap
        if span > min(shape[1:]):
            raise ValueError(
                f"three patches of {patch} with gap={gap} and jitter={jitter} take {span} pixels, and inputs are "
                f"{shape[1]}×{shape[2]}; 3 · (patch + jitter) + 2 · gap may be at most {min(shape[1:])}"
            )
        try:
            backbone.check_sides((shape[0], patch, patch))
        except ValueError as error:
            raise ValueError(f"patch={patch}: {error}") from error
        if colour == "project" and shape[0] != 3:
            raise ValueError(f"colour=project: needs three colours, and inputs have {shape[0]}; use drop or keep")
        self.patch, self.gap, self.jitter = patch, gap, jitter
        self.coarse = coarse
        self.register_buffer("resampling", resampling_matrices(patch), persistent=False)
        self.colour = colour
        self.classifier = nn.Sequential(
            nn.Linear(2 * backbone.dim, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, len(NEIGHBOURS)),
        )

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the neighbour's position over informative pairs; ln 8 at chance."""
        with torch.no_grad():
            self.backbone(views[0])  # for batch norm's running statistics
        logits, targets, informative = self._logits_and_targets(views, draws)
        each = F.cross_entropy(logits, targets, reduction="none")
        number = informative.sum()
        kept, share = number.clamp_min(1), weight(number)
        return (each * informative).sum() / kept * share, {
            "pretext_accuracy": ((logits.argmax(1) == targets) & informative).sum() / kept * share,
            "pairs_kept": informative.float().mean(),
        }

    def answers(self, views: tuple[Tensor, ...], draws: Draws) -> Answers:
        """True and predicted positions of the neighbours in informative pairs."""
        logits, targets, informative = self._logits_and_targets(views, draws)
        return Answers("position", tuple("↖↑↗←→↙↓↘"), targets[informative], logits.argmax(1)[informative])

    def pictures(self, views: tuple[Tensor, ...], draws: Draws) -> dict[str, Tensor]:
        """Views, their patches in true positions, and the neighbours in predicted positions.

        Two neighbours may be predicted in the same position, and none in another.
        """
        (view,) = views
        where = draw_corners(len(view), (view.shape[2], view.shape[3]), self.patch, self.gap, 0, draws)
        patches = cut_patches(view, where, self.patch)
        predicted = torch.tensor(NEIGHBOURS, device=view.device)[self._logits(patches, draws).argmax(1)].view(
            len(view), -1
        )
        cells = torch.cat([torch.full_like(predicted[:, :1], CENTRE), predicted], dim=1)
        shown = patches[:, [CENTRE, *NEIGHBOURS]]
        row = torch.arange(len(view), device=view.device)[:, None].expand_as(cells)
        return {
            "view": view,
            "patches": paste(patches, where, view),
            "as predicted": paste(shown, where[row, cells], view),
        }

    def _logits_and_targets(self, views: tuple[Tensor, ...], draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B · 8, 8), targets, and whether pairs are informative: (B · 8,) each."""
        (view,) = views
        where = draw_corners(len(view), (view.shape[2], view.shape[3]), self.patch, self.gap, self.jitter, draws)
        patches = cut_patches(view, where, self.patch)
        targets = torch.arange(len(NEIGHBOURS), device=view.device).repeat(len(view))
        logits = self._logits(coarsen(patches, self.coarse, self.resampling, draws), draws)
        return logits, targets, informative_pairs(patches).flatten()

    def _logits(self, patches: Tensor, draws: Draws) -> Tensor:
        """(B, 9, C, P, P) → logits (B · 8, 8), the pairs of an input in a row."""
        if self.colour == "drop":
            patches = keep_one_channel(patches, draws)
        elif self.colour == "project":
            patches = remove_green_magenta(patches)
        with keep_running_statistics(self.backbone):
            features = self.backbone(patches.flatten(0, 1)).unflatten(0, (-1, GRID**2))
        middle = features[:, CENTRE, None].expand(-1, len(NEIGHBOURS), -1)
        return self.classifier(torch.cat([middle, features[:, NEIGHBOURS]], dim=2).flatten(0, 1)).float()


def draw_corners(count: int, size: tuple[int, int], patch: int, gap: int, jitter: int, draws: Draws) -> Tensor:
    """Upper left corners of the patches: the grid at a random position, each patch at one in its cell; int64 (B, 9, 2)."""
    cell = torch.arange(GRID**2, device=draws.device)
    pitch = patch + jitter + gap
    grid = torch.stack([cell // GRID, cell % GRID], dim=1) * pitch
    room = torch.tensor([side - (GRID * pitch - gap) + 1 for side in size], device=draws.device)
    anywhere = (draws.uniform(count, 1, 2) * room).long()
    moved = draws.integers(jitter + 1, count, GRID**2, 2)
    return grid + anywhere + moved


def cut_patches(images: Tensor, where: Tensor, patch: int) -> Tensor:
    """Cut patches: (B, C, H, W), corners (B, N, 2) → (B, N, C, P, P)."""
    image, rows, columns = _pixels(where, patch)
    return images.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 1, 4, 2, 3)


def paste(patches: Tensor, where: Tensor, images: Tensor) -> Tensor:
    """Paste patches on black images: (B, N, C, P, P), corners (B, N, 2), images for the shape (B, C, H, W) → (B, C, H, W)."""
    board = torch.zeros_like(images).permute(0, 2, 3, 1).contiguous()
    board[_pixels(where, patches.shape[-1])] = patches.permute(0, 1, 3, 4, 2).to(board.dtype)
    return board.permute(0, 3, 1, 2)


def _pixels(where: Tensor, patch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Index of image, row and column of every pixel of the patches; each broadcasts to (B, N, P, P)."""
    steps = torch.arange(patch, device=where.device)
    image = torch.arange(len(where), device=where.device)[:, None, None, None]
    return image, (where[..., :1] + steps)[..., None], (where[..., 1:] + steps)[..., None, :]


def informative_pairs(patches: Tensor) -> Tensor:
    """Whether neither patch of a pair is constant: (B, 9, C, P, P) → bool (B, 8)."""
    varied = (patches.amax((3, 4)) > patches.amin((3, 4))).any(2)
    return varied[:, [CENTRE]] & varied[:, NEIGHBOURS]


def resampling_matrices(patch: int) -> Tensor:
    """Matrices that down- and upsample a line of a patch, one for each of S intermediate sizes: (S, P, P)."""
    pixels = torch.eye(patch)[:, None, None]
    smaller = [
        F.interpolate(pixels, (1, side), mode="bilinear", antialias=True)
        for side in range(min(patch, max(2, round(COARSEST * patch))), patch + 1)
    ]
    return torch.stack([F.interpolate(small, (1, patch), mode="bilinear")[:, 0, 0].mT for small in smaller])


def coarsen(patches: Tensor, fraction: float, resampling: Tensor, draws: Draws) -> Tensor:
    """Downsample a random fraction of the patches to a random size, and upsample them again (section 3.2).

    (B, N, C, P, P), (S, P, P) from `resampling_matrices` → (B, N, C, P, P).
    """
    if not fraction:
        return patches
    chosen = draws.uniform(*patches.shape[:2]) < fraction
    sides = draws.integers(len(resampling), *patches.shape[:2])
    lines = resampling[sides[chosen]][:, None]
    coarse = patches.clone()
    coarse[chosen] = (lines @ patches[chosen] @ lines.mT).to(patches.dtype)
    return coarse


def keep_one_channel(patches: Tensor, draws: Draws) -> Tensor:
    """Replace all channels but a random one with faint noise (section 3.1): (B, N, C, P, P) → same shape."""
    count, number, channels = patches.shape[:3]
    stays = draws.integers(channels, count, number, 1, 1, 1)
    kept = patches.take_along_dim(stays, 2)
    noise = NOISE * kept.std((3, 4), keepdim=True) * draws.normal(*patches.shape)
    return torch.where(torch.arange(channels, device=patches.device)[:, None, None] == stays, patches, noise)


def remove_green_magenta(patches: Tensor) -> Tensor:
    """Project out the green–magenta axis (−1, 2, −1) of colour space (section 3.1): (…, 3, P, P) → same shape."""
    axis = patches.new_tensor([-1.0, 2.0, -1.0]) / 6**0.5
    along = torch.einsum("c,...cxy->...xy", axis, patches)
    return patches - axis[:, None, None] * along[..., None, :, :]
