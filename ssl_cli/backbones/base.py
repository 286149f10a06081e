"""What every backbone of images is: stages of convolutions, then the mean over positions."""

from torch import Tensor, nn


class ConvNet(nn.Module):
    """Stages in a row; the features are the last stage's output, averaged over positions.

    Args:
        stages: each takes and gives (B, C, H, W).
        dim: channels of the last stage.
    """

    def __init__(self, stages: list[nn.Module], dim: int):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.dim = dim

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) → (B, dim)."""
        for stage in self.stages:
            inputs = stage(inputs)
        return inputs.mean((2, 3))

    def layers(self, inputs: Tensor) -> list[Tensor]:
        """The features of every stage, each averaged over positions: (B, C of that stage)."""
        pooled = []
        for stage in self.stages:
            inputs = stage(inputs)
            pooled.append(inputs.mean((2, 3)))
        return pooled
