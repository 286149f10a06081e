"""Skip-gram with negative sampling (word2vec, Mikolov et al., 2013)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import Count, NonNegative
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.methods.base import Method
from ssl_cli.methods.parts.language_model import of_each_token, require_whole_texts
from ssl_cli.models.backbones.bag import Bag
from ssl_cli.processes import total, weight
from ssl_cli.randomness import Draws


class Word2Vec(Method):
    """Tell the tokens around each token from random ones.

    How many neighbours on each side count is drawn for each token from 1 to `window`, so that near ones count more. Random
    tokens are drawn for each token and serve all its neighbours: the loss has the same mean as with some for each pair.

    Args:
        backbone: the bag, whose embeddings are trained.
        vocabulary: of the texts.
        window: most tokens between which neighbours are.
        negatives: random tokens for each.
        power: of the frequencies so far, by which they are drawn.

    Raises:
        ValueError: the backbone has more than embeddings.
    """

    backbone: Bag  # pyright: ignore[reportIncompatibleVariableOverride]  # the constructor takes no other
    counts: Tensor

    def __init__(self, backbone: Bag, vocabulary: Vocabulary, window: Count, negatives: Count, power: NonNegative):
        super().__init__(backbone)  # pyright: ignore[reportArgumentType]
        if not isinstance(backbone, Bag):
            raise ValueError("word2vec trains the embeddings of tokens and no layers; take backbone=bag")
        self.vocabulary, self.window, self.negatives, self.power = vocabulary, window, negatives, power
        self.context = nn.Embedding(vocabulary.size, backbone.dim)
        nn.init.zeros_(self.context.weight)
        self.register_buffer("counts", torch.zeros(vocabulary.size, dtype=torch.int64))

    def check_views(self, views: Any) -> None:
        """Raises ValueError if augmentation leaves tokens out."""
        require_whole_texts(views)

    def loss(self, views: tuple[TokenBatch], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over pairs of neighbours (equation 4); (1 + negatives) · ln 2 at the beginning."""
        (view,) = views
        known = view.present & ~torch.isin(view.ids, torch.tensor(self.vocabulary.special, device=view.device))
        counts = self._counted(view.ids[known])
        reach = of_each_token(draws.integers(self.window, len(view), view.longest) + 1, view)
        random = self._drawn(of_each_token(draws.uniform(len(view), view.longest, self.negatives), view), counts)

        states = self.backbone.embedding(view.ids)
        around = self.context(view.ids)
        found, neighbours = states.new_zeros(()), torch.zeros_like(view.ids)
        for far in range(1, min(self.window, view.longest - 1) + 1):
            pairs = known[:, far:] & known[:, :-far] & (view.texts[:, far:] == view.texts[:, :-far])
            for centre, other in ((slice(far, None), slice(None, -far)), (slice(None, -far), slice(far, None))):
                near = pairs & (reach[:, centre] >= far)
                scores = (states[:, centre] * around[:, other]).sum(2)[near].float()
                found = found - F.logsigmoid(scores).sum()
                neighbours[:, centre] += near
        number = neighbours.sum()
        count, share = number.clamp_min(1), weight(number)
        scores = torch.einsum("rtd,rtnd->rtn", states, self.context(random)).float()
        of_neighbours = found / count * share
        of_random = -(F.logsigmoid(-scores).sum(2) * neighbours).sum() / count * share
        loss = of_neighbours + of_random
        return loss, {"neighbour_loss": of_neighbours.detach(), "random_loss": of_random.detach()}

    @torch.no_grad()
    def _counted(self, ids: Tensor) -> Tensor:
        """How often each token was there so far, these included: int64 (V,)."""
        counts = self.counts + total(torch.zeros_like(self.counts).scatter_add_(0, ids, torch.ones_like(ids)))
        if self.training:
            self.counts.copy_(counts)
        return counts

    def _drawn(self, uniform: Tensor, counts: Tensor) -> Tensor:
        """Tokens by their frequency to the power: any shape of numbers from 0 to 1 → int64."""
        weights = torch.where(counts > 0, counts.float() ** self.power, 0.0).cumsum(0)
        found = torch.searchsorted(weights, uniform * weights[-1], right=True)
        return found.clamp_max(len(counts) - 1)
