"""The base class of backbones for texts, and how the states of their tokens become one vector."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from ssl_cli.data.token_batch import IGNORED, TokenBatch
from ssl_cli.data.tokens import Vocabulary

Pooling = Literal["mean", "first", "last"]
ACTIVATIONS: dict[str, partial[nn.Module]] = {
    "gelu": partial(nn.GELU),
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "relu": partial(nn.ReLU),
}
EMBEDDING_STD = 0.02  # of the initial weights, as in BERT and GPT-2


class TextBackbone(nn.Module):
    """Packed texts → features. A subclass gives the states of tokens.

    Args:
        vocabulary: of the texts.
        dim: width of a token's state, and number of features.
        pooling: the features of a text are the mean of its tokens' states, or the state of its first or last one.

    `embedding` is the layer of token embeddings, which language models share with their output layer.
    """

    embedding: nn.Embedding
    activation: str = "gelu"  # of hidden layers, and of those that a method adds
    norm_eps: float = 1e-5  # of layer norms, likewise

    def __init__(self, vocabulary: Vocabulary, dim: int, pooling: Pooling):
        super().__init__()
        self.vocabulary = vocabulary
        self.dim = dim
        self.pooling = pooling
        self.embedding = nn.Embedding(vocabulary.size, dim)
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)

    def states(self, batch: TokenBatch) -> Tensor:
        """The last state of every token: R rows of T tokens → (R, T, dim)."""
        return self.layer_states(batch)[-1]

    def layer_states(self, batch: TokenBatch) -> list[Tensor]:
        """The states after every layer: (R, T, dim) each."""
        raise NotImplementedError

    def forward(self, batch: TokenBatch) -> Tensor:
        """N texts → (N, dim)."""
        return self.pool(self.states(batch), batch)

    def layers(self, batch: TokenBatch) -> list[Tensor]:
        """The features of every layer, pooled like the last: (N, dim) each."""
        return [self.pool(states, batch) for states in self.layer_states(batch)]

    def pool(self, states: Tensor, batch: TokenBatch) -> Tensor:
        """(R, T, dim) → (N, dim)."""
        flat = states.flatten(0, 1)
        if self.pooling == "mean":
            return mean_of_texts(flat, batch)
        return flat[batch.firsts if self.pooling == "first" else batch.lasts]


class ContextBackbone(TextBackbone):
    """A backbone for texts in which the state of a token depends on other tokens, as language models need it.

    causal: whether a token sees only those before it; max_length: most tokens of a text.
    """

    causal: bool
    max_length: int

    def layer_states(self, batch: TokenBatch, causal: bool | None = None) -> list[Tensor]:
        """The states after every layer: (R, T, dim) each; `causal` where a method wants it other than it is."""
        raise NotImplementedError

    def forward(self, batch: TokenBatch) -> Tensor:
        """N texts → (N, dim)."""
        if self.pooling == "mean":
            return super().forward(batch)
        return self.states_at(batch, batch.firsts if self.pooling == "first" else batch.lasts)

    def states_at(self, batch: TokenBatch, places: Tensor) -> Tensor:
        """The last states of some tokens only, which need less than all of them: int64 (M,), flattened → (M, dim)."""
        raise NotImplementedError


def mean_of_texts(states: Tensor, batch: TokenBatch) -> Tensor:
    """The mean state of each text's tokens, padding left out: (R · T, D) → (N, D)."""
    texts = torch.where(batch.texts == IGNORED, len(batch), batch.texts).flatten()  # padding goes to a row of its own
    sums = torch.zeros(len(batch) + 1, states.shape[1], dtype=states.dtype, device=states.device)
    sums = sums.index_add(0, texts, states)[:-1]
    return sums / (batch.lasts - batch.firsts + 1)[:, None].to(states.dtype)
