"""The base class of backbones: stages of feature maps, then average pooling."""

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Shape


class Backbone(nn.Module):
    """A sequence of stages; the features are the last stage's output, average-pooled to a grid.

    Args:
        stages: each maps (B, C, H, W) to (B, C', H', W').
        channels: of the last stage.
        shape: channels, height, width of the inputs.
        at_least: smallest side of the inputs in pixels.
        multiple_of: divisor of the inputs' sides; `because` names the setting that requires it.
        grid: side of the pooled grid; 1 is global average pooling, 2 keeps some spatial information.

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
        """Raises ValueError if inputs of this shape do not fit."""
        at_least, multiple_of, because = self._sides
        if min(shape[1:]) < at_least:
            raise ValueError(f"inputs of {shape[1]}×{shape[2]} do not fit; sides must be at least {at_least}")
        if any(side % multiple_of for side in shape[1:]):
            needed = f"multiples of {because}{multiple_of}"
            raise ValueError(f"inputs of {shape[1]}×{shape[2]} do not fit; sides must be {needed}")

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) → (B, dim)."""
        return self._pool(self.maps(inputs))

    def maps(self, inputs: Tensor) -> Tensor:
        """The last stage's output: (B, C, H, W) → (B, channels, H', W')."""
        for stage in self.stages:
            inputs = stage(inputs)
        return inputs

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """The features of every stage, pooled like the last: (B, C of that stage · grid²)."""
        pooled = []
        for stage in self.stages:
            inputs = stage(inputs)
            pooled.append(self._pool(inputs))
        return pooled

    def _pool(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3)) if self.grid == 1 else F.adaptive_avg_pool2d(maps, self.grid).flatten(1)
