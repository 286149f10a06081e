"""Language modelling over several languages and with translations (XLM, Conneau and Lample, 2019)."""

from typing import Annotated, Any

import torch
from torch import Tensor

from ssl_cli.config.schema import NonNegative
from ssl_cli.data.token_batch import TokenBatch, pack
from ssl_cli.data.tokens import Vocabulary, flat_positions
from ssl_cli.methods.base import Method
from ssl_cli.methods.parts.language_model import (
    TokenOutput,
    masked_loss,
    masked_pictures,
    next_token_losses,
    require_context,
    require_whole_texts,
)
from ssl_cli.models.backbones.text import ContextBackbone
from ssl_cli.randomness import Draws


class CrossLingual(Method):
    """Predict masked tokens of a text, and of a text beside its translation; or each token from those before it.

    The loss is the weighted sum of the three, where XLM takes one of them at each step.

    Args:
        backbone: a transformer that sees both sides.
        vocabulary: of the texts.
        cases: int64 (N,), which texts are translations of each other.
        mask_ratio: fraction of tokens that are predicted.
        mlm: weight of masked language modelling.
        tlm: of translation language modelling; a text without a partner in another language stays alone.
        clm: of causal language modelling, in which the same transformer sees only what is before a token.

    Raises:
        ValueError: the texts have no languages or no cases, the backbone is causal or no transformer, or all weights are 0.
    """

    n_views = 2
    backbone: ContextBackbone  # pyright: ignore[reportIncompatibleVariableOverride]  # the constructor takes no other

    def __init__(
        self,
        backbone: ContextBackbone,
        vocabulary: Vocabulary,
        cases: Tensor | None,
        mask_ratio: Annotated[float, "(0, 1)"],
        mlm: NonNegative,
        tlm: NonNegative,
        clm: NonNegative,
    ):
        super().__init__(backbone)  # pyright: ignore[reportArgumentType]
        require_context(backbone, "cross_lingual")
        if backbone.causal:
            raise ValueError("masked tokens are predicted from both sides; set backbone.causal=false")
        if len(vocabulary.languages) < 2:
            raise ValueError("nothing says in which of several languages the texts are; set dataset.columns.language")
        if cases is None:
            raise ValueError("nothing says which texts are translations of each other; take dataset=parallel")
        if not (mlm or tlm or clm):
            raise ValueError("mlm=0, tlm=0 and clm=0: nothing is learnt; one of them must be above 0")
        self.vocabulary, self.mask_ratio = vocabulary, mask_ratio
        self.mlm, self.tlm, self.clm = mlm, tlm, clm
        self.output = TokenOutput(backbone, transform=True)

    def check_views(self, views: Any) -> None:
        """Raises ValueError if augmentation leaves tokens out."""
        require_whole_texts(views)

    def loss(
        self, views: tuple[TokenBatch, TokenBatch], labels: Tensor | None, draws: Draws
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the mean cross-entropies of predicted tokens; each is ln V at chance."""
        text, translation = views
        total, numbers = torch.zeros((), device=text.device), {}
        for name, weight in (("mlm", self.mlm), ("tlm", self.tlm)):
            if weight:
                batch = text if name == "mlm" else side_by_side(text, translation)
                loss, _, found = masked_loss(batch, self.vocabulary, self.mask_ratio, self.backbone, self.output, draws)
                total = total + weight * loss
                numbers |= {f"{name}_loss": loss.detach(), f"{name}_accuracy": found["masked_accuracy"]}
        if self.clm:
            states = self.backbone.layer_states(text, causal=True)[-1]
            loss = next_token_losses(states, text, self.output, self.backbone)[0].mean()
            total, numbers = total + self.clm * loss, {**numbers, "clm_loss": loss.detach()}
        return total, numbers

    def pictures(self, views: tuple[TokenBatch, TokenBatch], draws: Draws) -> dict[str, Any]:
        """The texts, beside their translations if these are used, with gaps, and the best five guesses for each of them."""
        batch = side_by_side(*views) if self.tlm else views[0]
        return masked_pictures(batch, self.vocabulary, self.mask_ratio, self.backbone, self.output, draws)


def side_by_side(texts: TokenBatch, translations: TokenBatch) -> TokenBatch:
    """Each text and its translation as one sequence, in which positions begin anew at the translation (figure 1).

    A partner in the same language is no translation and is left out.
    """
    parts, before = (texts, translations), texts.ids.numel()

    def flat(name: str) -> Tensor:
        return torch.cat([getattr(part, name).flatten() for part in parts])

    languages = flat("languages")
    starts = torch.stack([texts.firsts, translations.firsts + before], dim=1)
    lengths = torch.stack([part.lasts - part.firsts + 1 for part in parts], dim=1)
    differ = languages[starts[:, 0]] != languages[starts[:, 1]]
    lengths[:, 1] *= differ
    tokens = flat_positions(starts.flatten(), lengths.flatten())
    return pack(
        lengths.sum(1).cpu(),
        flat("ids")[tokens],
        flat("positions")[tokens],
        flat("segments")[tokens],
        languages[tokens],
        texts.longest + translations.longest,
    )
