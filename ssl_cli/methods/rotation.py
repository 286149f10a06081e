"""Which way up is it? (RotNet, Gidaris et al., 2018)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Shape
from ssl_cli.methods.base import Answers, Method, accuracy

TURNS = 4
HIDES = 45  # degrees: half of a turn


class Rotation(Method):
    """Tell which quarter turn an input was given; all four turns of every input are in the batch.

    Quarter turns move pixels and compute none, so that no interpolation can give them away.

    Args:
        backbone, head: the network; the head ends in one answer a turn.
        shape: of the inputs.

    Raises:
        ValueError: the inputs are not square.
    """

    def __init__(self, backbone: nn.Module, head, shape: Shape):
        super().__init__(backbone)
        if shape[1] != shape[2]:
            raise ValueError(f"inputs of {shape[1]}×{shape[2]} change their shape when turned; they must be square")
        self.head = head(inputs=backbone.dim, classes=TURNS)

    def check_views(self, views: Any) -> None:
        """Raises ValueError where views are turned themselves by as much as would hide a quarter turn."""
        affine = getattr(views, "affine", None)
        if affine and affine.p and affine.rotation >= HIDES:
            raise ValueError(
                f"augment.pretrain.affine.rotation={affine.rotation:g} hides quarter turns; it must be below {HIDES}"
            )

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the turn (section 3.1, equation 2); ln 4 where nothing is known."""
        logits, turn = self._asked(views)
        return F.cross_entropy(logits, turn), {"pretext_accuracy": accuracy(logits, turn)}

    def answers(self, views: tuple[Tensor, ...]) -> Answers:
        """The turns given, and those that the network believes."""
        logits, turn = self._asked(views)
        return Answers("turn", tuple(f"{90 * quarters}°" for quarters in range(TURNS)), turn, logits.argmax(1))

    def pictures(self, views: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Views turned by 0, 1, 2, 3, 0, … quarters, and turned back by as many as the network believes."""
        (view,) = views
        given = turned(view, torch.arange(len(view), device=view.device) % TURNS)
        believed = self.head(self.backbone(given)).argmax(1)
        return {"turned": given, "turned back": turned(given, -believed % TURNS)}

    def _asked(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Logits (4 · B, 4) of views turned all ways, and the turns that would be right."""
        (view,) = views
        all_ways = torch.cat([view.rot90(turn, (2, 3)) for turn in range(TURNS)])
        turn = torch.arange(TURNS, device=view.device).repeat_interleave(len(view))
        return self.head(self.backbone(all_ways)).float(), turn


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Each image by its own number of quarter turns, against the clock: (B, C, S, S), int64 (B,) → (B, C, S, S)."""
    given = torch.empty_like(images)
    for turn in range(TURNS):
        chosen = turns == turn
        given[chosen] = images[chosen].rot90(turn, (2, 3))
    return given
