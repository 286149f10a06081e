"""What every backbone of images is: stages from maps to maps, then means over positions."""

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Shape


class Backbone(nn.Module):
    """Stages in a row; the features are the last stage's output, averaged over the cells of a grid.

    Args:
        stages: each takes and gives (B, C, H, W).
        channels: of the last stage.
        shape: channels, height, width of the inputs.
        at_least: pixels a side that inputs must have.
        multiple_of: what the sides must be a multiple of; `because` names the setting that asks for it.
        grid: cells a side; 1 averages over the whole image, 2 keeps a little of where things are.

    Raises:
        ValueError: the sides of the inputs do not fit.
    """

    dim: int  # number of features

    def __init__(
        self,
        stages: list[nn.Module],
        channels: int,
        shape: Shape,
        at_least: int = 1,
        multiple_of: int = 1,
        because: str = "",
        grid: int = 1,
    ):
        super().__init__()
        self._sides = (at_least, multiple_of, because)
        self.check_sides(shape)
        self.stages = nn.ModuleList(stages)
        self.grid = grid
        self.dim = channels * grid**2

    def check_sides(self, shape: Shape) -> None:
        """Raises ValueError where inputs of a shape do not fit."""
        at_least, multiple_of, because = self._sides
        if min(shape[1:]) < at_least:
            raise ValueError(f"inputs of {shape[1]}×{shape[2]} do not fit; sides must be at least {at_least}")
        if any(side % multiple_of for side in shape[1:]):
            needed = f"multiples of {because}{multiple_of}"
            raise ValueError(f"inputs of {shape[1]}×{shape[2]} do not fit; sides must be {needed}")

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) → (B, dim)."""
        for stage in self.stages:
            inputs = stage(inputs)
        return self._pooled(inputs)

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """The features of every stage, pooled like the last: (B, C of that stage · grid²)."""
        pooled = []
        for stage in self.stages:
            inputs = stage(inputs)
            pooled.append(self._pooled(inputs))
        return pooled

    def _pooled(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3)) if self.grid == 1 else F.adaptive_avg_pool2d(maps, self.grid).flatten(1)
