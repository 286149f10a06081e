"""Where does one patch lie beside another? (Doersch et al., 2015)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.methods.base import Method, accuracy
from ssl_cli.schema import Count, NotNegative, Shape

CELLS = [(row, column) for row in range(3) for column in range(3)]  # of the grid, row by row
CENTRE = CELLS.index((1, 1))
NEIGHBOURS = [number for number in range(len(CELLS)) if number != CENTRE]  # the answers, in this order
NOISE = 0.01  # in place of a dropped colour: this much of the patch's own deviation


class PatchLocation(Method):
    """Tell from the middle patch of a 3×3 grid and one of its eight neighbours which neighbour it is.

    Every input gives all eight pairs, so the answers are balanced. The grid lies anywhere in the input where it fits.
    Pairs with a patch of one colour say nothing and do not count.

    Args:
        backbone: sees every patch by itself.
        shape: of the inputs.
        patch: its side in pixels.
        gap: pixels between neighbours at the least, so that lines cannot be followed from one into the other.
        jitter: pixels by which each patch may be moved inside its cell of `patch` + `jitter`.
        colour: a lens bends colours differently towards the edge, by which a patch's place could be told; so all
            channels but a random one become noise (`drop`; grey inputs have but one), green and magenta are projected
            away (`project`), or nothing is done (`keep`).
        hidden: width of the layer that joins two patches.

    Raises:
        ValueError: the grid is larger than the inputs, or colours should be projected where there are none.
    """

    def __init__(
        self,
        backbone: nn.Module,
        shape: Shape,
        patch: Count,
        gap: NotNegative,
        jitter: NotNegative,
        colour: Literal["drop", "project", "keep"],
        hidden: Count,
    ):
        super().__init__(backbone)
        self.patch, self.gap, self.jitter = patch, gap, jitter
        self.colour = colour
        self.join = nn.Sequential(
            nn.Linear(2 * backbone.dim, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, len(NEIGHBOURS)),
        )

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the neighbour's place over pairs that show something; ln 8 where nothing is known."""
        (view,) = views
        patches, shows = self._patches(view)
        answers, places = self._answers(patches).float(), self._places(len(view), view.device)
        shows = (shows[:, [CENTRE]] & shows[:, NEIGHBOURS]).flatten()
        each = F.cross_entropy(answers, places, reduction="none")
        kept = shows.sum().clamp_min(1)
        return (each * shows).sum() / kept, {
            "pretext_accuracy": ((answers.argmax(1) == places) & shows).sum() / kept,
            "pairs_kept": shows.float().mean(),
        }
