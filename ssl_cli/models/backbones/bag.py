"""A bag of tokens: the mean of their embeddings."""

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.models.backbones.text import TextBackbone


class Bag(TextBackbone):
    """The features of a text are the mean of its tokens' embeddings, standardised: no order, no layers, and very fast.

    Means of many embeddings are small, and smaller the longer the text. Standardised (layer norm without weights), all texts'
    features have the size that a classifier's learning rate expects.

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

    def pool(self, states: Tensor, batch: TokenBatch) -> Tensor:
        """(R, T, dim) → (N, dim), standardised."""
        return F.layer_norm(super().pool(states, batch), (self.dim,))

    def forward(self, batch: TokenBatch) -> Tensor:
        """N texts → (N, dim), in one pass over the tokens."""
        if self.vocabulary.pad in (self.vocabulary.first, self.vocabulary.last):
            return super().forward(batch)  # this padding cannot be told from a text's own tokens
        # Flattened, each text is followed by another one or by padding, which `padding_idx` leaves out of the mean.
        order = batch.firsts.argsort()
        means = F.embedding_bag(
            batch.ids.flatten(),
            self.embedding.weight,
            batch.firsts[order],
            mode="mean",
            padding_idx=self.vocabulary.pad,
        )
        return F.layer_norm(means[order.argsort()], (self.dim,))
