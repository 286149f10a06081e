"""Masked language modelling with next-sentence prediction (BERT, Devlin et al., 2019)."""

from typing import Annotated, Any

from torch import Tensor, nn

from ssl_cli.config.schema import Fraction
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.methods.base import Method
from ssl_cli.methods.parts.language_model import (
    TokenOutput,
    mask_of,
    masked_loss,
    masked_pictures,
    masked_token_losses,
    mean_cross_entropy,
    require_context,
    require_languages,
    require_whole_texts,
    share_right,
)
from ssl_cli.methods.parts.sentence_pairs import sentence_pairs
from ssl_cli.models.backbones.text import ContextBackbone
from ssl_cli.randomness import Draws


class MaskedLM(Method):
    """Predict masked tokens from those around them, and optionally whether two sentences follow each other.

    Args:
        backbone: a transformer that sees both sides.
        vocabulary: of the texts.
        mask_ratio: fraction of tokens that are predicted.
        next_sentence: whether a text is cut at a sentence's end, and its second part is that of another text half of the time,
            which is predicted from the state of the first token. The loss is the sum of both.
        transform: whether a linear layer, activation and layer norm stand before the output layer, as in BERT; not so in XLM.
        language_power: texts are drawn by their language's share to this power; 1: each is seen once an epoch.
        held_out: share of the training texts that only the perplexity is measured on.

    Raises:
        ValueError: the backbone is causal or none of tokens, the tokenizer has no mask, or no sentence is marked where that is
            asked for.
    """

    backbone: ContextBackbone  # pyright: ignore[reportIncompatibleVariableOverride]  # the constructor takes no other

    def __init__(
        self,
        backbone: ContextBackbone,
        vocabulary: Vocabulary,
        mask_ratio: Annotated[float, "(0, 1)"],
        next_sentence: bool,
        transform: bool = True,
        language_power: Fraction = 1.0,
        held_out: Annotated[float, "[0, 1)"] = 0.0,
    ):
        super().__init__(backbone)  # pyright: ignore[reportArgumentType]
        require_context(backbone, "masked_lm")
        if backbone.causal:
            raise ValueError(
                "masked tokens are predicted from both sides; set backbone.causal=false, or take method=causal_lm"
            )
        if next_sentence and vocabulary.sentence is None:
            raise ValueError(
                "next_sentence=true: no sentence is marked in the texts; set dataset.sentences or dataset.columns.document"
            )
        mask_of(vocabulary)
        self.vocabulary, self.mask_ratio = vocabulary, mask_ratio
        self.held_out = held_out
        self.language_power = require_languages(vocabulary, language_power)
        self.output = TokenOutput(backbone, transform)
        self.follows = (
            nn.Sequential(nn.Linear(backbone.dim, backbone.dim), nn.Tanh(), nn.Linear(backbone.dim, 2))
            if next_sentence
            else None
        )

    def saved(self) -> dict[str, nn.Module]:
        """The output layers."""
        return {"output": self.output, **({} if self.follows is None else {"next_sentence": self.follows})}

    def check_views(self, views: Any) -> None:
        """Raises ValueError if augmentation leaves tokens out."""
        require_whole_texts(views)

    def loss(self, views: tuple[TokenBatch], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean cross-entropy of the predicted tokens, plus that of the next sentence; ln V and ln 2 at chance."""
        (view,) = views
        is_random = None
        if self.follows is not None:
            view, is_random = sentence_pairs(view, self.vocabulary, draws)
        loss, firsts, numbers = masked_loss(view, self.vocabulary, self.mask_ratio, self.backbone, self.output, draws)
        if self.follows is None or is_random is None:
            return loss, numbers
        found = self.follows(firsts).float()
        known = is_random >= 0
        of_sentences = mean_cross_entropy(found[known], is_random[known])
        return loss + of_sentences, {
            **numbers,
            "next_sentence_loss": of_sentences.detach(),
            "pretext_accuracy": share_right(found[known], is_random[known]),
        }

    def token_losses(self, view: TokenBatch, draws: Draws) -> dict[str, tuple[Tensor, Tensor]]:
        """Of the masked tokens."""
        return {
            "": masked_token_losses(view, self.vocabulary, self.mask_ratio, self.backbone, self.output, draws),
        }

    def pictures(self, views: tuple[TokenBatch], draws: Draws) -> dict[str, Any]:
        """The text with gaps, what was there, and the best five guesses for each of them."""
        (view,) = views
        if self.follows is not None:
            view, _ = sentence_pairs(view, self.vocabulary, draws)
        return masked_pictures(view, self.vocabulary, self.mask_ratio, self.backbone, self.output, draws)
