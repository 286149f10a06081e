"""Where does one patch lie beside another? (Doersch et al., 2015)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Fraction, NonNegativeInt, Shape
from ssl_cli.methods.base import Answers, Method
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.batch_norm import keep_running_statistics

GRID = 3  # cells a side, numbered row by row
CENTRE = GRID**2 // 2
NEIGHBOURS = [cell for cell in range(GRID**2) if cell != CENTRE]  # the answers, in this order
COARSEST = 10 / 96  # of a patch's side: what it may be shrunk to, but at least 2 pixels
NOISE = 0.01  # in place of a colour: this much of the other colour's deviation


class PatchLocation(Method):
    """Tell from the middle patch of a 3×3 grid and one of its eight neighbours which neighbour it is.

    Every input gives all eight pairs, so the answers are balanced. The grid lies anywhere in the input where it fits.
    Pairs with a patch of a single value say nothing and do not count.

    Features are wanted of whole inputs, whose statistics are not those of patches: batch norm sees each kind by itself
    and remembers the whole ones.

    Args:
        backbone: sees every patch by itself.
        shape: of the inputs.
        patch: its side in pixels.
        gap: pixels between neighbours at the least, so that lines cannot be followed from one into the other.
        jitter: pixels by which a patch may lie elsewhere in its cell, whose side is `patch` + `jitter`.
        coarse: the share of patches that are shrunk and enlarged again, so that the finest lines are no sure sign.
        colour: a lens bends colours differently towards the edge, which gives a patch's place away; so all channels but
            one become noise (`drop`), or what tells green from magenta is taken away (`project`), or nothing is done
            (`keep`). Grey inputs are left as they are by `drop`.
        hidden: width of the layer that joins two patches.

    Raises:
        ValueError: the grid is larger than the inputs, a patch is too small for the backbone, or there are no colours.
    """

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
        self.register_buffer("there_and_back", resampling(patch), persistent=False)
        self.colour = colour
        self.join = nn.Sequential(
            nn.Linear(2 * backbone.dim, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, len(NEIGHBOURS)),
        )

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the neighbour's number over the pairs that show something; ln 8 where nothing is known."""
        with torch.no_grad():
            self.backbone(views[0])  # for batch norm
        logits, place, shows = self._asked(views)
        each = F.cross_entropy(logits, place, reduction="none")
        kept = shows.sum().clamp_min(1)
        return (each * shows).sum() / kept, {
            "pretext_accuracy": ((logits.argmax(1) == place) & shows).sum() / kept,
            "pairs_kept": shows.float().mean(),
        }

    def answers(self, views: tuple[Tensor, ...]) -> Answers:
        """Where neighbours lie and are said to lie, of the pairs that show something."""
        logits, place, shows = self._asked(views)
        return Answers("place", tuple("↖↑↗←→↙↓↘"), place[shows], logits.argmax(1)[shows])

    def pictures(self, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Views, their patches where they lie, and the neighbours where the network believes that they lie.

        Two neighbours of an input may be believed in one place, and none in another.
        """
        (view,) = views
        where = corners(len(view), view.shape[2:], self.patch, self.gap, 0, view.device)
        patches = cut(view, where, self.patch)
        believed = torch.tensor(NEIGHBOURS, device=view.device)[self._answers(patches).argmax(1)].view(len(view), -1)
        cells = torch.cat([torch.full_like(believed[:, :1], CENTRE), believed], dim=1)
        shown = patches[:, [CENTRE, *NEIGHBOURS]]
        row = torch.arange(len(view), device=view.device)[:, None].expand_as(cells)
        return {
            "view": view,
            "patches": pasted(patches, where, view),
            "as believed": pasted(shown, where[row, cells], view),
        }

    def _asked(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B · 8, 8), the places that would be right, and whether the pairs show something: (B · 8,) each."""
        (view,) = views
        where = corners(len(view), view.shape[2:], self.patch, self.gap, self.jitter, view.device)
        patches = cut(view, where, self.patch)
        place = torch.arange(len(NEIGHBOURS), device=view.device).repeat(len(view))
        logits = self._answers(coarsened(patches, self.coarse, self.there_and_back))
        return logits, place, pairs_that_show(patches).flatten()

    def _answers(self, patches: Tensor) -> Tensor:
        """(B, 9, C, P, P) → logits (B · 8, 8), the pairs of an input in a row."""
        plain = {"drop": one_colour, "project": without_green_magenta, "keep": nn.Identity()}[self.colour]
        with keep_running_statistics(self.backbone):
            features = self.backbone(plain(patches.flatten(0, 1))).unflatten(0, (-1, GRID**2))
        middle = features[:, CENTRE, None].expand(-1, len(NEIGHBOURS), -1)
        return self.join(torch.cat([middle, features[:, NEIGHBOURS]], dim=2).flatten(0, 1)).float()


def corners(count: int, size: tuple[int, int], patch: int, gap: int, jitter: int, device: torch.device) -> Tensor:
    """The upper left corner of every patch: a grid anywhere in each input, a patch anywhere in its cell; (B, 9, 2)."""
    cell = torch.arange(GRID**2, device=device)
    pitch = patch + jitter + gap
    grid = torch.stack([cell // GRID, cell % GRID], dim=1) * pitch
    room = torch.tensor([side - (GRID * pitch - gap) + 1 for side in size], device=device)
    anywhere = (torch.rand(count, 1, 2, device=device) * room).long()
    moved = torch.randint(jitter + 1, (count, GRID**2, 2), device=device)
    return grid + anywhere + moved


def cut(images: Tensor, where: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) and corners (B, N, 2) → patches (B, N, C, P, P)."""
    image, rows, columns = _pixels(where, patch)
    return images.permute(0, 2, 3, 1)[image, rows, columns].permute(0, 1, 4, 2, 3)


def pasted(patches: Tensor, where: Tensor, images: Tensor) -> Tensor:
    """Patches on black, in the shape of (B, C, H, W): (B, N, C, P, P), corners (B, N, 2) → (B, C, H, W)."""
    board = torch.zeros_like(images).permute(0, 2, 3, 1).contiguous()
    board[_pixels(where, patches.shape[-1])] = patches.permute(0, 1, 3, 4, 2).to(board.dtype)
    return board.permute(0, 3, 1, 2)


def _pixels(where: Tensor, patch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image, row and column of every pixel of patches, to index with: each broadcasts to (B, N, P, P)."""
    steps = torch.arange(patch, device=where.device)
    image = torch.arange(len(where), device=where.device)[:, None, None, None]
    return image, (where[..., :1] + steps)[..., None], (where[..., 1:] + steps)[..., None, :]


def pairs_that_show(patches: Tensor) -> Tensor:
    """Whether neither of two patches is of a single value: (B, 9, C, P, P) → bool (B, 8)."""
    shows = (patches.amax((3, 4)) > patches.amin((3, 4))).any(2)
    return shows[:, [CENTRE]] & shows[:, NEIGHBOURS]


def resampling(patch: int) -> Tensor:
    """For every side that a patch may be shrunk to, the matrix that takes a line of it there and back: (S, P, P)."""
    pixels = torch.eye(patch)[:, None, None]
    smaller = [
        F.interpolate(pixels, (1, side), mode="bilinear", antialias=True)
        for side in range(min(patch, max(2, round(COARSEST * patch))), patch + 1)
    ]
    return torch.stack([F.interpolate(small, (1, patch), mode="bilinear")[:, 0, 0].mT for small in smaller])


def coarsened(patches: Tensor, share: float, there_and_back: Tensor) -> Tensor:
    """Some patches shrunk to a side drawn for each, and enlarged again (section 3.2).

    (B, N, C, P, P), and (S, P, P) as of `resampling` → (B, N, C, P, P).
    """
    if not share:
        return patches
    chosen = torch.rand(patches.shape[:2], device=patches.device) < share
    sides = torch.randint(len(there_and_back), (int(chosen.sum()),), device=patches.device)
    lines = there_and_back[sides][:, None]
    coarse = patches.clone()
    coarse[chosen] = (lines @ patches[chosen] @ lines.mT).to(patches.dtype)
    return coarse


def one_colour(patches: Tensor) -> Tensor:
    """A random channel of each patch stays, faint noise takes the others' places (section 3.1): (B, C, P, P) → the same."""
    count, channels = patches.shape[:2]
    stays = torch.randint(channels, (count, 1, 1, 1), device=patches.device)
    kept = patches.take_along_dim(stays, 1)
    noise = NOISE * kept.std((2, 3), keepdim=True) * torch.randn_like(patches)
    return torch.where(torch.arange(channels, device=patches.device)[:, None, None] == stays, patches, noise)


def without_green_magenta(patches: Tensor) -> Tensor:
    """What lies along (−1, 2, −1) in the space of colours taken away (section 3.1): (B, 3, P, P) → the same."""
    axis = patches.new_tensor([-1.0, 2.0, -1.0]) / 6**0.5
    along = torch.einsum("c,bcxy->bxy", axis, patches)
    return patches - axis[:, None, None] * along[:, None]
