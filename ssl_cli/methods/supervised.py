"""Supervised training: fine-tuning and the baseline, which differ only in their initial weights."""

from collections.abc import Iterable, Sequence
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.types import View
from ssl_cli.methods.base import Classifier, accuracy, given
from ssl_cli.methods.parts.language_model import TokenOutput, mean_of_all, mean_of_each_text, next_token_losses
from ssl_cli.models.backbones.text import ContextBackbone
from ssl_cli.processes import average, weight
from ssl_cli.randomness import Draws


class Supervised(Classifier):
    """A classifier trained with cross-entropy.

    Args:
        backbone: images or texts → features.
        head: features → logits.
        label_smoothing: share of the target that goes to all classes alike.
        pretrained: layers whose weights come from a pre-training.
        pretrained_rate: the share of the learning rate at which they learn (discriminative fine-tuning; Howard and Ruder, 2018,
            section 3.2): labels are few, and a new head's first gradients mean little.
        language_model: weight of the language model's loss on the same texts (λ; Radford et al., 2018, equation 5).

    Raises:
        ValueError: the language model has a weight, and the backbone is none of a causal one.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        label_smoothing: float,
        pretrained: Sequence[nn.Module] = (),
        pretrained_rate: float = 1.0,
        language_model: float = 0.0,
    ):
        super().__init__(backbone)  # pyright: ignore[reportArgumentType]  # features need none: an identity stands there
        self.head = head
        self.label_smoothing = label_smoothing
        self.class_weight: Tensor | None
        self.log_share: Tensor | None
        self.register_buffer("class_weight", None, persistent=False)
        self.register_buffer("log_share", None, persistent=False)
        # Their parameters and not the layers, which would stand in the weights a second time.
        self._pretrained = [parameter for layer in pretrained for parameter in layer.parameters()]
        self.pretrained_rate = pretrained_rate
        self._in_evaluation: list[nn.Module] = []
        self.language_model = language_model
        self.output: TokenOutput | None = None
        if language_model:
            if not (isinstance(backbone, ContextBackbone) and backbone.causal):
                raise ValueError(
                    "each token is predicted from those before it; take backbone=transformer with backbone.causal=true and "
                    "backbone.pooling=last, or set it to 0"
                )
            self.output = TokenOutput(backbone, transform=False, bias=False)

    def keep_in_evaluation(self, layers: Iterable[nn.Module]) -> None:
        """Let layers be in evaluation mode from now on, while the others are trained."""
        self._in_evaluation = list(layers)  # a list, or they would stand in the weights a second time
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training mode, or evaluation mode, but for the layers that stay in the latter."""
        super().train(mode)
        for layer in self._in_evaluation:
            layer.training = False
        return self

    def weigh_classes(self, how: Literal["none", "balanced", "logit_adjusted"], labels: Tensor, classes: int) -> None:
        """Make up for classes that have few labels.

        Args:
            how: none; balanced: each input counts in inverse proportion to the labels of its class; logit_adjusted: in training,
                each logit gets the logarithm of its class's share added (Menon et al., 2021, equation 10, τ = 1), so that
                without it the classes are alike.
            labels: to train on, int64 (N,).
            classes: how many there are.
        """
        counts = torch.bincount(labels, minlength=classes).clamp_min(1).float()
        if how == "balanced":
            self.class_weight = len(labels) / (classes * counts)
        if how == "logit_adjusted":
            self.log_share = (counts / counts.sum()).log()

    def parameter_groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Pre-trained parameters at their share of the learning rate, new ones at all of it."""
        if self.pretrained_rate == 1 or not self._pretrained:
            return super().parameter_groups()
        slow = {id(parameter) for parameter in self._pretrained}
        pretrained = [parameter for parameter in self.parameters() if id(parameter) in slow]
        new = [parameter for parameter in self.parameters() if id(parameter) not in slow]
        return [(self.pretrained_rate, pretrained), (1.0, new)]

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
            "perplexity": average(mean_of_all(each.detach())).exp(),
        }

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        adjusted = logits if self.log_share is None else logits + self.log_share
        mean = F.cross_entropy(adjusted, labels, self.class_weight, label_smoothing=self.label_smoothing)
        return mean if self.class_weight is None else mean * weight(self.class_weight[labels].sum())
