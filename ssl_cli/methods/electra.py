"""Replaced token detection (ELECTRA, Clark et al., 2020)."""

from dataclasses import replace
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.config.schema import NonNegative
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.methods.base import Method
from ssl_cli.methods.parts.language_model import (
    TokenOutput,
    mask_of,
    mask_tokens,
    mean_cross_entropy,
    of_each_token,
    require_whole_texts,
    share_right,
)
from ssl_cli.models.backbones.transformer import Transformer
from ssl_cli.processes import weight
from ssl_cli.randomness import Draws


class Electra(Method):
    """Find the tokens that a small masked language model, trained at the same time, put in the place of others.

    The generator is a transformer of its own, with embeddings of its own; no gradient passes through what it draws.

    Args:
        backbone: a transformer that sees both sides, which is the discriminator.
        vocabulary: of the texts.
        mask_ratio: fraction of tokens that the generator predicts.
        width: of the generator over that of the backbone.
        weight: of the discriminator's loss.

    Raises:
        ValueError: the backbone is causal or no transformer, or the tokenizer has no mask.
    """

    backbone: Transformer  # pyright: ignore[reportIncompatibleVariableOverride]  # the constructor takes no other

    def __init__(
        self,
        backbone: Transformer,
        vocabulary: Vocabulary,
        mask_ratio: Annotated[float, "(0, 1)"],
        width: Annotated[float, "(0, 1]"],
        weight: NonNegative,
    ):
        super().__init__(backbone)  # pyright: ignore[reportArgumentType]
        if not isinstance(backbone, Transformer):
            raise ValueError("electra tells replaced tokens by their context; take backbone=transformer")
        if backbone.causal:
            raise ValueError("replaced tokens are told by both sides; set backbone.causal=false")
        mask_of(vocabulary)
        self.vocabulary, self.mask_ratio, self.weight = vocabulary, mask_ratio, weight
        self.generator = backbone.narrower(width)
        self.output = TokenOutput(self.generator, transform=True)
        self.replaced = nn.Sequential(nn.Linear(backbone.dim, backbone.dim), nn.GELU(), nn.Linear(backbone.dim, 1))

    def check_views(self, views: Any) -> None:
        """Raises ValueError if augmentation leaves tokens out."""
        require_whole_texts(views)

    def loss(self, views: tuple[TokenBatch], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's mean cross-entropy plus `weight` times the discriminator's over all tokens (section 2)."""
        (view,) = views
        chosen, logits, seen = self._replaced(view, draws)
        targets = view.ids[chosen]
        of_generator = mean_cross_entropy(logits, targets)
        states = self.backbone.states(replace(view, ids=seen))[view.present]
        # A drawn token that is the one that was there counts as original.
        found, wanted = self.replaced(states)[:, 0].float(), (seen != view.ids)[view.present].float()
        share = weight(len(found))
        of_discriminator = F.binary_cross_entropy_with_logits(found, wanted) * share
        return of_generator + self.weight * of_discriminator, {
            "generator_loss": of_generator.detach(),
            "discriminator_loss": of_discriminator.detach(),
            "generator_accuracy": share_right(logits, targets),
            "replaced": wanted.mean() * share,
            "pretext_accuracy": ((found.detach() > 0) == (wanted > 0)).float().mean() * share,
        }

    def _replaced(self, view: TokenBatch, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """The predicted tokens, bool (R, T); the generator's logits of them, (M, V); the ids with its draws, (R, T)."""
        chosen, _ = mask_tokens(view, self.vocabulary, self.mask_ratio, draws)
        masked = replace(view, ids=torch.where(chosen, mask_of(self.vocabulary), view.ids))
        states = self.generator.states_at(masked, chosen.flatten().nonzero()[:, 0])
        logits = self.output(states, self.generator.embedding)
        uniform = of_each_token(draws.uniform(len(view), view.longest), view)[chosen]
        with torch.no_grad():
            sums = logits.softmax(1).cumsum(1)
            drawn = torch.searchsorted(sums, (uniform * sums[:, -1])[:, None], right=True)[:, 0]
        return chosen, logits, view.ids.masked_scatter(chosen, drawn.clamp_max(self.vocabulary.size - 1))

    def pictures(self, views: tuple[TokenBatch], draws: Draws) -> dict[str, Any]:
        """The texts, and what the discriminator sees."""
        (view,) = views
        _, _, seen = self._replaced(view, draws)
        return {
            "text": texts_of(self.vocabulary, view),
            "replaced": texts_of(self.vocabulary, replace(view, ids=seen)),
        }
