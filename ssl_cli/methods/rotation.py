"""Rotation prediction (RotNet, Gidaris et al., 2018)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.schema import Shape
from ssl_cli.methods.base import Answers, Projecting, accuracy
from ssl_cli.models.backbones.base import Backbone
from ssl_cli.models.heads import HeadFactory
from ssl_cli.randomness import Draws

ROTATIONS = 4
LARGEST = 45  # degrees; augmentation by more makes quarter turns ambiguous


class Rotation(Projecting):
    """Predict by which multiple of 90° an input was rotated; all four rotations of each input are in the batch.

    Rotations by 90° only permute pixels, so there are no interpolation artefacts that could give them away.

    Args:
        backbone, head: the network; the head has one output per rotation.
        shape: of the inputs.

    Raises:
        ValueError: the inputs are not square.
    """

    def __init__(self, backbone: Backbone, head: HeadFactory, shape: Shape):
        super().__init__(backbone)
        if shape[1] != shape[2]:
            raise ValueError(f"inputs of {shape[1]}×{shape[2]} change their shape when rotated; they must be square")
        self.head = head(inputs=backbone.dim, classes=ROTATIONS)

    def check_views(self, views: Any) -> None:
        """Raises ValueError if augmentation rotates by so much that quarter turns become ambiguous."""
        affine = getattr(views, "affine", None)
        if affine and affine.p and affine.rotation >= LARGEST:
            raise ValueError(
                f"augment.pretrain.affine.rotation={affine.rotation:g} makes quarter turns ambiguous; it must be below {LARGEST}"
            )

    def loss(self, views: tuple[Tensor, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the rotation (section 3.1, equation 2); ln 4 at chance."""
        logits, targets = self._logits_and_targets(views)
        return F.cross_entropy(logits, targets), {"pretext_accuracy": accuracy(logits, targets)}

    def answers(self, views: tuple[Tensor, ...], draws: Draws) -> Answers:
        """True and predicted rotations."""
        logits, targets = self._logits_and_targets(views)
        return Answers(
            "rotation", tuple(f"{90 * quarters}°" for quarters in range(ROTATIONS)), targets, logits.argmax(1)
        )

    def pictures(self, views: tuple[Tensor, ...], draws: Draws) -> dict[str, Tensor]:
        """Views rotated by 0, 90, 180, 270, 0, … degrees, and rotated back by the predicted angle."""
        (view,) = views
        rotated = rotate_quarters(view, torch.arange(len(view), device=view.device) % ROTATIONS)
        predictions = self.head(self.backbone(rotated)).argmax(1)
        return {"rotated": rotated, "rotated back": rotate_quarters(rotated, -predictions % ROTATIONS)}

    def _logits_and_targets(self, views: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Logits (4 · B, 4) of all rotations of the views, and their targets (4 · B,)."""
        (view,) = views
        rotations = torch.cat([view.rot90(turn, (2, 3)) for turn in range(ROTATIONS)])
        targets = torch.arange(ROTATIONS, device=view.device).repeat_interleave(len(view))
        return self.head(self.backbone(rotations)).float(), targets


def rotate_quarters(images: Tensor, quarters: Tensor) -> Tensor:
    """Rotate each image by its own number of quarter turns, anticlockwise: (B, C, S, S), int64 (B,) → (B, C, S, S)."""
    rotated = torch.empty_like(images)
    for turn in range(ROTATIONS):
        chosen = quarters == turn
        rotated[chosen] = images[chosen].rot90(turn, (2, 3))
    return rotated
