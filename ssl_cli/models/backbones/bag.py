"""A bag of tokens: the mean of their embeddings."""

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.models.backbones.text import TextBackbone


class Bag(TextBackbone):
    """The features of a text are the mean of its tokens' embeddings: no order, no layers, and very fast.

    Args:
        vocabulary: of the texts.
        dim: width of the embeddings, and number of features.
    """

    def __init__(self, vocabulary: Vocabulary, dim: Count):
        super().__init__(vocabulary, dim, "mean")

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """Its only layer."""
        return (self.embedding,)

    def layer_states(self, batch: TokenBatch) -> list[Tensor]:
        """The embeddings: (R, T, dim)."""
        return [self.embedding(batch.ids)]

    def forward(self, batch: TokenBatch) -> Tensor:
        """N texts → (N, dim), in one pass over the tokens."""
        flat = batch.ids.flatten()[batch.texts.flatten() >= 0]
        # Within a row texts follow one another, but their numbers may not: sums are put back in the texts' order.
        order = batch.firsts.argsort()
        lengths = (batch.lasts - batch.firsts + 1)[order]
        means = F.embedding_bag(flat, self.embedding.weight, lengths.cumsum(0) - lengths, mode="mean")
        return means[order.argsort()]
