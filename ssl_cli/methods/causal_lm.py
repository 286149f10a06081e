"""Causal language modelling (GPT, Radford et al., 2018)."""

from typing import Annotated, Any

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import Fraction
from ssl_cli.data.text.tokenizer import decoded
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.methods.base import Method
from ssl_cli.methods.parts.language_model import (
    TokenOutput,
    mean_of_all,
    next_token_losses,
    require_context,
    require_languages,
    require_whole_texts,
    share_right,
)
from ssl_cli.models.backbones.text import ContextBackbone
from ssl_cli.processes import average
from ssl_cli.randomness import Draws

CONTINUED = 24  # tokens that a picture's texts are continued by


class CausalLM(Method):
    """Predict each token from those before it.

    Args:
        backbone: a causal transformer.
        vocabulary: of the texts.
        temperature: of the continuations that pictures show; 0 takes the most probable token.
        language_power: texts are drawn by their language's share to this power; 1: each is seen once an epoch.
        held_out: share of the training texts that only the perplexity is measured on.

    Raises:
        ValueError: the backbone is not causal, so that it would see what it predicts.
    """

    backbone: ContextBackbone  # pyright: ignore[reportIncompatibleVariableOverride]  # the constructor takes no other

    def __init__(
        self,
        backbone: ContextBackbone,
        vocabulary: Vocabulary,
        temperature: Fraction,
        language_power: Fraction = 1.0,
        held_out: Annotated[float, "[0, 1)"] = 0.0,
    ):
        super().__init__(backbone)  # pyright: ignore[reportArgumentType]
        require_context(backbone, "causal_lm")
        if not backbone.causal:
            raise ValueError(
                "each token is predicted from those before it; set backbone.causal=true and backbone.pooling=last"
            )
        self.vocabulary, self.temperature = vocabulary, temperature
        self.held_out = held_out
        self.language_power = require_languages(vocabulary, language_power)
        self.output = TokenOutput(backbone, transform=False, bias=False)

    def saved(self) -> dict[str, nn.Module]:
        """The output layer, which has no weights of its own; its file says that the backbone is a language model."""
        return {"output": self.output}

    def check_views(self, views: Any) -> None:
        """Raises ValueError if augmentation leaves tokens out."""
        require_whole_texts(views)

    def loss(self, views: tuple[TokenBatch], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean cross-entropy of the next token (equation 1); ln V at chance."""
        (view,) = views
        each, logits, targets, _ = next_token_losses(self.backbone.states(view), view, self.output, self.backbone)
        loss = mean_of_all(each)
        return loss, {
            "perplexity": average(loss.detach()).exp(),
            "next_token_accuracy": share_right(logits, targets),
        }

    def token_losses(self, view: TokenBatch, draws: Draws) -> dict[str, tuple[Tensor, Tensor]]:
        """Of all tokens but each text's first."""
        each, _, _, texts = next_token_losses(self.backbone.states(view), view, self.output, self.backbone)
        return {"": (each, texts)}

    def pictures(self, views: tuple[TokenBatch], draws: Draws) -> dict[str, Any]:
        """The beginnings of texts, and how the model goes on."""

        (view,) = views
        flat = view.ids.flatten()
        shown: dict[str, list[str]] = {"text": [], "continued": []}
        for first, last in zip(view.firsts.tolist(), view.lasts.tolist(), strict=True):
            begun = flat[first : first + max(1, (last - first) // 2)]
            language = None if view.languages is None else view.languages.flatten()[first]
            shown["text"].append(decoded(self.vocabulary, begun))
            shown["continued"].append(decoded(self.vocabulary, self._continued(begun, language, draws)[len(begun) :]))
        return shown

    def _continued(self, ids: Tensor, language: Tensor | None, draws: Draws) -> Tensor:
        """A text with tokens drawn one after the other: int64 (T,) → (T + up to `CONTINUED`,)."""
        for _ in range(min(CONTINUED, self.backbone.max_length - len(ids))):
            one = torch.arange(len(ids), device=ids.device)[None]
            languages = None if language is None else language.expand_as(one)
            batch = TokenBatch(
                ids[None],
                torch.zeros_like(one),
                one,
                torch.zeros_like(one),
                languages,
                one[0, :1],
                one[0, -1:],
                len(ids),
            )
            logits = self.output(self.backbone.states(batch)[0, -1:], self.backbone.embedding)[0]
            if self.temperature:
                # The Gumbel maximum of logits is a draw from their softmax.
                noise = -(-draws.uniform(len(logits)).clamp_min(1e-20).log()).log()
                logits = logits / self.temperature + noise
            ids = torch.cat([ids, logits.argmax()[None]])
            if int(ids[-1]) == self.vocabulary.last:
                break
        return ids
