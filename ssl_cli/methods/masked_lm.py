"""Masked language modelling with next-sentence prediction (BERT, Devlin et al., 2019)."""

from dataclasses import replace
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.text.tokenizer import decoded, texts_of
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.methods.base import Method, accuracy
from ssl_cli.methods.parts.language_model import TokenOutput, mask_tokens, require_text_backbone
from ssl_cli.methods.parts.sentence_pairs import sentence_pairs
from ssl_cli.models.backbones.text import TextBackbone
from ssl_cli.randomness import Draws

GUESSES = 5


class MaskedLM(Method):
    """Predict masked tokens from those around them, and optionally whether two sentences follow each other.

    Args:
        backbone: a transformer that sees both sides.
        vocabulary: of the texts.
        mask_ratio: fraction of tokens that are predicted.
        next_sentence: whether a text is cut at a sentence's end, and its second part is that of another text half of the time,
            which is predicted from the state of the first token. The loss is the sum of both.

    Raises:
        ValueError: the backbone is causal or none of tokens, or no sentence is marked where sentences are asked for.
    """

    backbone: TextBackbone  # pyright: ignore[reportIncompatibleVariableOverride]  # the constructor takes no other

    def __init__(
        self,
        backbone: TextBackbone,
        vocabulary: Vocabulary,
        mask_ratio: Annotated[float, "(0, 1)"],
        next_sentence: bool,
    ):
        super().__init__(backbone)  # pyright: ignore[reportArgumentType]
        require_text_backbone(backbone, "masked_lm")
        if backbone.causal:
            raise ValueError(
                "masked tokens are predicted from both sides; set backbone.causal=false, or take method=causal_lm"
            )
        if next_sentence and vocabulary.sentence is None:
            raise ValueError(
                "next_sentence=true: no sentence is marked in the texts; set dataset.sentences or dataset.columns.document"
            )
        self.vocabulary, self.mask_ratio = vocabulary, mask_ratio
        self.output = TokenOutput(backbone, transform=True)
        self.follows = (
            nn.Sequential(nn.Linear(backbone.dim, backbone.dim), nn.Tanh(), nn.Linear(backbone.dim, 2))
            if next_sentence
            else None
        )

    def loss(self, views: tuple[TokenBatch], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean cross-entropy of the predicted tokens, plus that of the next sentence; ln V and ln 2 at chance."""
        (view,) = views
        is_random = None
        if self.follows is not None:
            view, is_random = sentence_pairs(view, self.vocabulary, draws)
        chosen, seen = mask_tokens(view, self.vocabulary, self.mask_ratio, draws)
        states = self.backbone.states(replace(view, ids=seen))
        logits, targets = self.output(states[chosen], self.backbone.embedding), view.ids[chosen]
        # A batch of very short texts may have nothing to predict; its loss is then 0 and not the mean of nothing.
        loss = F.cross_entropy(logits, targets, reduction="sum") / max(len(targets), 1)
        numbers = {
            "masked_loss": loss.detach(),
            "perplexity": loss.detach().exp(),
            "masked_accuracy": accuracy(logits, targets),
        }
        if self.follows is None or is_random is None:
            return loss, numbers
        found = self.follows(states.flatten(0, 1)[view.firsts]).float()
        known = is_random >= 0
        of_sentences = F.cross_entropy(found[known], is_random[known], reduction="sum") / known.sum().clamp_min(1)
        return loss + of_sentences, {
            **numbers,
            "next_sentence_loss": of_sentences.detach(),
            "pretext_accuracy": accuracy(found[known], is_random[known]),
        }

    def pictures(self, views: tuple[TokenBatch], draws: Draws) -> dict[str, Any]:
        """The text as the network sees it, what was there, and the best five guesses for each masked token."""

        (view,) = views
        chosen, _ = mask_tokens(view, self.vocabulary, self.mask_ratio, draws)
        masked = replace(view, ids=torch.where(chosen, self.vocabulary.mask, view.ids))
        logits = self.output(self.backbone.states(masked)[chosen], self.backbone.embedding)
        best = logits.topk(min(GUESSES, logits.shape[1])).indices.cpu()
        targets, texts = view.ids[chosen].cpu(), view.texts[chosen].tolist()
        guesses = [[] for _ in range(len(view))]
        for number, text in enumerate(texts):
            found = "/".join(decoded(self.vocabulary, token[None]) for token in best[number])
            guesses[text].append(f"{decoded(self.vocabulary, targets[number][None])} ← {found}")
        return {"masked": texts_of(self.vocabulary, masked), "guesses": ["; ".join(each) for each in guesses]}
