"""What every backbone of images is: stages from maps to maps, then means over positions."""

import torch.nn.functional as F
from torch import Tensor, nn


class Backbone(nn.Module):
    """Stages in a row; the features are the last stage's output, averaged over the cells of a grid.

    Args:
        stages: each takes and gives (B, C, H, W).
        channels: of the last stage.
        grid: cells a side; 1 averages over the whole image, 2 keeps a little of where things are.
    """

    def __init__(self, stages: list[nn.Module], channels: int, grid: int = 1):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.grid = grid
        self.dim = channels * grid**2

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
