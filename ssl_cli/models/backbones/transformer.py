"""A transformer over tokens (Vaswani et al., 2017), shaped as BERT (Devlin et al., 2019) or as GPT-2 (Radford et al., 2019)."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count, Dropout, Length, Positive
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.models.backbones.text import ACTIVATIONS, EMBEDDING_STD, ContextBackbone

ROTARY_BASE = 10_000.0


class Transformer(ContextBackbone):
    """Embeddings of tokens, positions, segments and languages, then transformer layers.

    Args:
        vocabulary: of the texts.
        dim: width of a token's state, and number of features.
        layers: number of transformer layers.
        heads: attention heads in each layer.
        mlp_ratio: width of a layer's hidden layer over `dim`.
        causal: whether a token sees only those before it.
        positions: `learned` embeddings (BERT, GPT-2), or `rotary`: queries and keys turned by their position (Su et al., 2021).
        norm: layer norm `pre`, before attention and hidden layer (GPT-2), or `post`, after them (BERT).
        max_length: of a text in tokens.
        segments: whether the second text of a pair has an embedding of its own.
        languages: whether each language has an embedding of its own, added to each token (XLM).
        dropout: of embeddings, attention and the outputs of layers.
        pooling: features are the mean of the states, or the state of the first or the last token.
        norm_eps: added to the variance in layer norms (BERT and XLM 1e-12, GPT-2 1e-5).
        activation: of hidden layers: `gelu` (BERT, XLM), `gelu_tanh` (its approximation, GPT-2) or `relu`.

    Raises:
        ValueError: `heads` does not divide `dim`, or a causal transformer pools by its first token, which sees no other.
    """

    embeddings_from: ClassVar[tuple[str, ...]] = (
        "ssl_cli.models.backbones.bag.Bag",
    )  # whose embeddings it may begin with

    def __init__(
        self,
        vocabulary: Vocabulary,
        dim: Count,
        layers: Annotated[int, "[1, 200]"],
        heads: Count,
        mlp_ratio: Positive,
        causal: bool,
        positions: Literal["learned", "rotary"],
        norm: Literal["pre", "post"],
        max_length: Length,
        segments: bool,
        languages: bool,
        dropout: Dropout,
        pooling: Literal["mean", "first", "last"],
        norm_eps: Positive = 1e-5,
        activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu",
    ):
        if dim % heads or (positions == "rotary" and (dim // heads) % 2):
            even = ", and dim / heads even for rotary positions" if positions == "rotary" else ""
            raise ValueError(f"dim={dim}: must be a multiple of heads={heads}{even}")
        if causal and pooling == "first":
            raise ValueError("pooling=first: the first token sees no other with causal=true; take mean or last")
        if languages and not vocabulary.languages:
            raise ValueError("languages=true: nothing says in which languages the texts are; set it to false")
        super().__init__(vocabulary, dim, pooling)
        self.causal, self.max_length, self.heads = causal, max_length, heads
        self.activation, self.norm_eps = activation, norm_eps
        self._made_with: dict[str, Any] = {
            "mlp_ratio": mlp_ratio, "causal": causal, "positions": positions, "norm": norm, "max_length": max_length,
            "segments": segments, "languages": languages, "dropout": dropout, "pooling": pooling, "norm_eps": norm_eps,
            "activation": activation,
        }  # fmt: skip
        self.position_embedding = nn.Embedding(max_length, dim) if positions == "learned" else None
        self.segment_embedding = nn.Embedding(2, dim) if segments else None
        self.language_embedding = nn.Embedding(len(vocabulary.languages), dim) if languages else None
        self.embedding_norm = nn.LayerNorm(dim, norm_eps) if norm == "post" else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.stages = nn.ModuleList(
            Layer(
                dim, heads, round(mlp_ratio * dim), norm == "pre", norm_eps, activation, positions == "rotary", dropout
            )
            for _ in range(layers)
        )
        self.last_norm = nn.LayerNorm(dim, norm_eps) if norm == "pre" else nn.Identity()
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=EMBEDDING_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def narrower(self, share: float) -> Transformer:
        """A new one of this share of the width, with heads as wide as these where that is possible, and else as here."""
        heads = max(1, round(share * self.heads))
        dim = 2 * heads * math.ceil(share * self.dim / (2 * heads))  # even for each head, as rotary positions need
        return Transformer(self.vocabulary, dim, len(self.stages), heads, **self._made_with)

    def check_length(self, length: int) -> None:
        """Raises ValueError if texts of this length do not fit."""
        if length > self.max_length:
            raise ValueError(
                f"max_length={self.max_length}: must be at least {length}, the tokens that a view can have"
            )

    def layer_states(self, batch: TokenBatch, causal: bool | None = None) -> list[Tensor]:
        """The states after every layer: (R, T, dim) each; `causal` where a method wants it other than it is."""
        causal = self.causal if causal is None else causal
        states, found, mask = self._begun(batch), [], self._mask(batch, causal)
        for layer in self.stages:
            states = layer(states, mask, causal, batch.positions)
            found.append(states)
        return [*found[:-1], self.last_norm(found[-1])]

    def states_at(self, batch: TokenBatch, places: Tensor) -> Tensor:
        """The last states of some tokens: the last layer's hidden layer, most of its work, passes over the others."""
        states, mask = self._begun(batch), self._mask(batch, self.causal)
        *before, last = self.stages
        for layer in before:
            states = layer(states, mask, self.causal, batch.positions)
        return self.last_norm(last(states, mask, self.causal, batch.positions, places))

    def _begun(self, batch: TokenBatch) -> Tensor:
        return self.dropout(self.embedding_norm(self._embedded(batch)))

    def _mask(self, batch: TokenBatch, causal: bool) -> Tensor | None:
        return None if batch.is_one_text_a_row else batch.attention_mask(causal)

    def _embedded(self, batch: TokenBatch) -> Tensor:
        states = self.embedding(batch.ids)
        if self.position_embedding is not None:
            states = states + self.position_embedding(batch.positions)
        if self.segment_embedding is not None:
            states = states + self.segment_embedding(batch.segments)
        if self.language_embedding is not None and batch.languages is not None:
            states = states + self.language_embedding(batch.languages)
        return states


class Layer(nn.Module):
    """Attention, then a hidden layer, each with a residual connection and a layer norm before or after it."""

    def __init__(
        self,
        dim: int,
        heads: int,
        hidden: int,
        norm_first: bool,
        norm_eps: float,
        activation: str,
        rotary: bool,
        dropout: float,
    ):
        super().__init__()
        self.heads, self.norm_first, self.rotary, self.attention_dropout = heads, norm_first, rotary, dropout
        self.norm_attention, self.norm_hidden = nn.LayerNorm(dim, norm_eps), nn.LayerNorm(dim, norm_eps)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.activation, self.dropout = ACTIVATIONS[activation](), nn.Dropout(dropout)

    def forward(
        self, states: Tensor, mask: Tensor | None, causal: bool, positions: Tensor, places: Tensor | None = None
    ) -> Tensor:
        """(R, T, dim), bool (R, 1, T, T), int64 (R, T) → (R, T, dim); of the M tokens at `places` alone (M, dim)."""
        seen = self._attended(self.norm_attention(states) if self.norm_first else states, mask, causal, positions)
        if places is not None:
            states, seen = states.flatten(0, 1)[places], seen.flatten(0, 1)[places]
        states = states + self.dropout(self.out(seen))
        if self.norm_first:
            return states + self.dropout(self._hidden(self.norm_hidden(states)))
        states = self.norm_attention(states)
        return self.norm_hidden(states + self.dropout(self._hidden(states)))

    def _hidden(self, states: Tensor) -> Tensor:
        return self.down(self.activation(self.up(states)))

    def _attended(self, states: Tensor, mask: Tensor | None, causal: bool, positions: Tensor) -> Tensor:
        queries, keys, values = self.qkv(states).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.rotary:
            queries, keys = rotated(queries, positions), rotated(keys, positions)
        dropout = self.attention_dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=causal and mask is None
        )
        return attended.transpose(1, 2).flatten(2)


def rotated(vectors: Tensor, positions: Tensor) -> Tensor:
    """Rotary position embeddings: pairs of components turned by an angle that grows with the position (equation 34).

    (R, heads, T, D), int64 (R, T) → (R, heads, T, D); products of two such vectors depend on the distance of their positions.
    """
    half = vectors.shape[-1] // 2
    rates = ROTARY_BASE ** (-torch.arange(half, device=vectors.device) / half)
    angles = positions[:, None, :, None] * rates
    cos, sin = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
    first, second = vectors.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
