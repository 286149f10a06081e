"""Supervised training: fine-tuning and the baseline, which differ only in their initial weights."""

import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.types import View
from ssl_cli.methods.base import Classifier, accuracy, given
from ssl_cli.methods.parts.language_model import TokenOutput, mean_of_each_text, next_token_losses
from ssl_cli.models.backbones.text import ContextBackbone
from ssl_cli.randomness import Draws


class Supervised(Classifier):
    """A classifier trained with cross-entropy.

    Args:
        backbone, head: inputs → features → logits.
        label_smoothing: share of a label that is spread over all classes.
        language_model: weight of the language model's loss on the same texts (λ; Radford et al., 2018, equation 5).

    Raises:
        ValueError: the language model has a weight, and the backbone is none of a causal one.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, label_smoothing: float, language_model: float = 0.0):
        super().__init__(backbone)  # pyright: ignore[reportArgumentType]  # features need none: an identity stands there
        self.head = head
        self.label_smoothing, self.language_model = label_smoothing, language_model
        self.output: TokenOutput | None = None
        if language_model:
            if not (isinstance(backbone, ContextBackbone) and backbone.causal):
                raise ValueError(
                    "each token is predicted from those before it; take backbone=transformer with backbone.causal=true and "
                    "backbone.pooling=last, or set it to 0"
                )
            self.output = TokenOutput(backbone, transform=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, …) → logits (B, classes)."""
        return self.head(self.backbone(inputs))

    def loss(self, views: tuple[View, ...], labels: Tensor | None, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, plus that of the next tokens with its weight; training accuracy and perplexity as metrics."""
        (view,) = views
        labels = given(labels)
        if self.output is not None and isinstance(view, TokenBatch):
            return self._with_language_model(view, labels, self.output)
        logits = self(view).float()
        return self._cross_entropy(logits, labels), {"accuracy": accuracy(logits, labels)}

    def _with_language_model(
        self, view: TokenBatch, labels: Tensor, output: TokenOutput
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One pass gives both: the states of all tokens, and that of each text which the classifier reads."""
        backbone: ContextBackbone = self.backbone  # pyright: ignore[reportAssignmentType]  # the constructor takes no other
        states = backbone.states(view)
        logits = self.head(backbone.pool(states, view)).float()
        each, _, _, texts = next_token_losses(states, view, output, backbone)
        of_tokens = mean_of_each_text(each, texts, len(view))
        return self._cross_entropy(logits, labels) + self.language_model * of_tokens, {
            "accuracy": accuracy(logits, labels),
            "language_model_loss": of_tokens.detach(),
            "perplexity": each.detach().mean().exp(),
        }

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
