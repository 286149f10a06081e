"""Language modelling over several languages and with translations (XLM, Conneau and Lample, 2019)."""

from typing import Annotated, Any

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import Fraction, NonNegative
from ssl_cli.data.token_batch import TokenBatch, pack
from ssl_cli.data.tokens import Vocabulary, flat_positions
from ssl_cli.methods.base import Method
from ssl_cli.methods.parts.language_model import (
    TokenOutput,
    mask_of,
    masked_loss,
    masked_pictures,
    masked_token_losses,
    mean_of_all,
    next_token_losses,
    require_context,
    require_languages,
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
        translations: int64 (N,), which texts are translations of each other, or None; `tlm` needs it.
        mask_ratio: fraction of tokens that are predicted.
        mlm: weight of masked language modelling.
        tlm: of translation language modelling; a text without a partner in another language stays alone.
        clm: of causal language modelling, in which the same transformer sees only what is before a token.
        transform: whether a linear layer, activation and layer norm stand before the output layer, as in BERT; not so in XLM.
        language_power: texts are drawn by their language's share to this power (α); 1: each is seen once an epoch.
        held_out: share of the texts of each language that only the perplexity is measured on.

    Raises:
        ValueError: the texts have no languages, or no translations where these are used, the backbone is causal or no
            transformer, or all weights are 0.
    """

    backbone: ContextBackbone  # pyright: ignore[reportIncompatibleVariableOverride]  # the constructor takes no other

    def __init__(
        self,
        backbone: ContextBackbone,
        vocabulary: Vocabulary,
        translations: Tensor | None,
        mask_ratio: Annotated[float, "(0, 1)"],
        mlm: NonNegative,
        tlm: NonNegative,
        clm: NonNegative,
        transform: bool = True,
        language_power: Fraction = 0.7,
        held_out: Annotated[float, "[0, 1)"] = 0.0,
    ):
        super().__init__(backbone)  # pyright: ignore[reportArgumentType]
        require_context(backbone, "cross_lingual")
        if backbone.causal:
            raise ValueError("masked tokens are predicted from both sides; set backbone.causal=false")
        if len(vocabulary.languages) < 2:
            raise ValueError("nothing says in which of several languages the texts are; set dataset.columns.language")
        if tlm and translations is None:
            raise ValueError(
                f"tlm={tlm:g}: nothing says which texts are translations of each other; take dataset=parallel, or set it to 0"
            )
        if not (mlm or tlm or clm):
            raise ValueError("mlm=0, tlm=0 and clm=0: nothing is learnt; one of them must be above 0")
        if mlm or tlm:
            mask_of(vocabulary)
        self.vocabulary, self.mask_ratio = vocabulary, mask_ratio
        self.mlm, self.tlm, self.clm = mlm, tlm, clm
        self.pairs, self.n_views = tlm > 0, 2 if tlm else 1
        self.held_out = held_out
        self.language_power = require_languages(vocabulary, language_power)
        self.output = TokenOutput(backbone, transform)

    def saved(self) -> dict[str, nn.Module]:
        """The output layer."""
        return {"output": self.output}

    def check_views(self, views: Any) -> None:
        """Raises ValueError if augmentation leaves tokens out."""
        require_whole_texts(views)

    def loss(
        self, views: tuple[TokenBatch, ...], labels: Tensor | None, draws: Draws
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the mean cross-entropies of predicted tokens; each is ln V at chance.

        Args:
            views: texts, and where `tlm` is used their translations.
        """
        text = views[0]
        total, numbers = torch.zeros((), device=text.device), {}
        for name, weight in (("mlm", self.mlm), ("tlm", self.tlm)):
            if weight:
                batch = text if name == "mlm" else side_by_side(*views)
                loss, _, found = masked_loss(batch, self.vocabulary, self.mask_ratio, self.backbone, self.output, draws)
                total = total + weight * loss
                numbers |= {f"{name}_loss": loss.detach(), f"{name}_accuracy": found["masked_accuracy"]}
        if self.clm:
            each, _ = self._next_token_losses(text)
            loss = mean_of_all(each)
            total, numbers = total + self.clm * loss, {**numbers, "clm_loss": loss.detach()}
        return total, numbers

    def _next_token_losses(self, text: TokenBatch) -> tuple[Tensor, Tensor]:
        states = self.backbone.layer_states(text, causal=True)[-1]
        each, _, _, texts = next_token_losses(states, text, self.output, self.backbone)
        return each, texts

    def token_losses(self, view: TokenBatch, draws: Draws) -> dict[str, tuple[Tensor, Tensor]]:
        """Of texts without their translations: the masked tokens, and the next ones, as far as they are learnt."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        if self.mlm or self.tlm:
            known = (self.vocabulary, self.mask_ratio, self.backbone, self.output)
            found["mlm_"] = masked_token_losses(view, *known, draws)
        if self.clm:
            found["clm_"] = self._next_token_losses(view)
        return found

    def pictures(self, views: tuple[TokenBatch, ...], draws: Draws) -> dict[str, Any]:
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
