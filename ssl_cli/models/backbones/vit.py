"""A vision transformer (Dosovitskiy et al., 2021) whose features are the mean of its tokens."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Positive, Shape
from ssl_cli.models.backbones.base import Backbone

FEW_TOKENS = 256  # up to which bfloat16 on the CPU computes all weights of attention, N² for each head


class VisionTransformer(Backbone):
    """Patches become tokens that pass through transformer blocks: `width` features.

    Between stages, tokens are arranged as feature maps with one position per patch, like those of every other backbone.
    There is no class token: features are the mean of the last tokens after layer norm (appendix D.3).

    Args:
        shape: channels, height, width of the inputs.
        patch: side of a patch in pixels.
        width: of the tokens.
        depth: number of blocks, each of them a stage.
        heads: attention heads in each block.
        mlp_ratio: width of a block's hidden layer over `width`.

    Raises:
        ValueError: `patch` does not divide the inputs' sides, or `heads` does not divide `width`.
    """

    def __init__(
        self,
        shape: Shape,
        patch: Count,
        width: Count,
        depth: Annotated[int, "[1, 200]"],
        heads: Count,
        mlp_ratio: Positive,
    ):
        if width % heads or width % 4:
            raise ValueError(
                f"width={width}: must be a multiple of heads={heads}, and of 4 for position embeddings in 2D"
            )
        blocks = [Block(width, heads, mlp_ratio) for _ in range(depth)]
        stages = [_OnMaps(block) for block in blocks[:-1]] + [_OnMaps(blocks[-1], nn.LayerNorm(width))]
        patches = Patches(shape[0], patch, width)
        super().__init__(
            [nn.Sequential(patches, stages[0]), *stages[1:]], width, shape, patch, multiple_of=patch, because="patch="
        )
        self.patch = patch

    def encode_patches(self, inputs: Tensor, patches: Tensor) -> Tensor:
        """The last tokens of some patches, which attend to each other only: (B, C, H, W), indices (B, N) → (B, N, dim)."""
        embed, block = self.stages[0].children()
        tokens = embed(inputs).flatten(2)
        maps = tokens.gather(2, patches[:, None].expand(-1, self.dim, -1))[..., None]
        for stage in (block, *self.stages[1:]):
            maps = stage(maps)
        return maps.flatten(2).mT


class Patches(nn.Module):
    """Patch embedding with position embeddings added."""

    def __init__(self, channels: int, patch: int, width: int):
        super().__init__()
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        nn.init.xavier_uniform_(self.embed.weight.view(width, -1))
        if self.embed.bias is not None:  # it has one; Conv2d's annotation allows for none
            nn.init.zeros_(self.embed.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, channels, H, W) → (B, width, H / patch, W / patch)."""
        maps = self.embed(inputs)
        _, width, height, length = maps.shape
        return maps + position_embeddings(width, height, length, maps.device)


class Block(nn.Module):
    """A pre-norm transformer block: multi-head attention, then an MLP, each with a residual connection."""

    def __init__(self, width: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = _linear(width, 3 * width, maps=3)
        self.project = _linear(width, width)
        hidden = round(mlp_ratio * width)
        self.mlp = nn.Sequential(_linear(width, hidden), nn.GELU(), _linear(hidden, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) → (B, N, width)."""
        query_key_value = self.queries_keys_values(self.norm1(tokens)).unflatten(2, (3, self.heads, -1))
        attended = _attention(*query_key_value.permute(2, 0, 3, 1, 4))
        tokens = tokens + self.project(attended.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.norm2(tokens))


class _OnMaps(nn.Module):
    """Apply layers for tokens to feature maps: (B, width, H, W) → (B, width, H, W). With channels last nothing is copied."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        return self.layers(maps.flatten(2).mT).mT.unflatten(2, maps.shape[2:])


def _attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Scaled dot-product attention: three of (B, heads, N, D) → (B, heads, N, D).

    On the CPU, PyTorch's fused kernel takes twice as long in bfloat16 as in float32, and in float32 twice as long as batched
    products of matrices in bfloat16, whose N×N weights are small where tokens are few.
    """
    if queries.device.type != "cpu":
        return F.scaled_dot_product_attention(queries, keys, values)
    if queries.dtype == torch.bfloat16 and queries.shape[2] <= FEW_TOKENS:
        of_heads = [part.flatten(0, 1) for part in (queries, keys, values)]
        scores = torch.baddbmm(
            queries.new_zeros(()), of_heads[0], of_heads[1].mT, beta=0, alpha=queries.shape[3] ** -0.5
        )
        return torch.bmm(scores.softmax(2), of_heads[2]).unflatten(0, queries.shape[:2])
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(queries.float(), keys.float(), values.float())


def position_embeddings(width: int, height: int, length: int, device: torch.device) -> Tensor:
    """Fixed position embeddings, one half for the row and one for the column: (width, height, length).

    Sines and cosines whose wavelengths rise from 2π to 20,000π (Vaswani et al., 2017, section 3.5), in the plane as in
    MoCo v3 (Chen, Xie and He, 2021).
    """
    slowing = 10_000 ** -(torch.arange(width // 4, device=device) / (width // 4))

    def waves(count: int) -> Tensor:
        angles = slowing[:, None] * torch.arange(count, device=device)
        return torch.cat([angles.sin(), angles.cos()])

    rows, columns = waves(height)[:, :, None], waves(length)[:, None]
    return torch.cat([rows.expand(-1, -1, length), columns.expand(-1, height, -1)])


def _linear(inputs: int, outputs: int, maps: int = 1) -> nn.Linear:
    """A linear layer with MoCo v3's Xavier-uniform initialisation, computed for each of `maps` fused layers separately."""
    made = nn.Linear(inputs, outputs)
    bound = math.sqrt(6 / (inputs + outputs / maps))
    nn.init.uniform_(made.weight, -bound, bound)
    nn.init.zeros_(made.bias)
    return made
