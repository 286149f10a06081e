"""What language models share: an output layer over the vocabulary, and which tokens are masked."""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssl_cli.data.text.tokenizer import decoded, texts_of
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.models.backbones.text import ACTIVATIONS, ContextBackbone, TextBackbone
from ssl_cli.processes import average, weight
from ssl_cli.randomness import Draws

GUESSES = 5
KEPT, RANDOM = 0.1, 0.1  # of the masked tokens: those that stay, and those that become a random one


class TokenOutput(nn.Module):
    """Logits over the vocabulary from states of tokens; the weights are those of the token embeddings.

    Args:
        backbone: whose states and embeddings these are.
        transform: whether a linear layer, the backbone's activation and layer norm come first, as in BERT; not so in XLM.
        bias: whether there is one for each token; not so in GPT-2, which has no weights here beside the embeddings.
    """

    def __init__(self, backbone: TextBackbone, transform: bool, bias: bool = True):
        super().__init__()
        dim = backbone.dim
        between = ACTIVATIONS[backbone.activation]()
        self.transform = (
            nn.Sequential(nn.Linear(dim, dim), between, nn.LayerNorm(dim, backbone.norm_eps))
            if transform
            else nn.Identity()
        )
        self.bias = nn.Parameter(torch.zeros(backbone.vocabulary.size)) if bias else None

    def forward(self, states: Tensor, embedding: nn.Embedding) -> Tensor:
        """(M, dim) → logits (M, V)."""
        return F.linear(self.transform(states), embedding.weight, self.bias).float()


def require_context(backbone: Any, method: str) -> None:
    """Raises ValueError for a backbone that gives no states of tokens, or none that depend on other tokens."""
    if not isinstance(backbone, ContextBackbone):
        raise ValueError(f"{method} learns from the states of tokens in their context; take backbone=transformer")


def require_whole_texts(views: Any, part: str = "pretrain") -> None:
    """Raises ValueError where views, those of `augment.PART`, leave tokens out, so that others are beside each other."""
    drop = getattr(views, "drop", None)
    if drop and drop.p:
        instead = "take augment=whole_text, or set it to 0" if part == "pretrain" else "set it to 0"
        raise ValueError(
            f"augment.{part}.drop.p={drop.p:g} leaves tokens out, and a language model would learn what nobody writes; "
            f"{instead}"
        )


def mask_of(vocabulary: Vocabulary) -> int:
    """The token that stands for one that is to be predicted.

    Raises:
        ValueError: the tokenizer has none.
    """
    if vocabulary.mask is None:
        raise ValueError("the tokenizer has no token for a masked one, such as [MASK]; take method=causal_lm")
    return vocabulary.mask


def mask_tokens(batch: TokenBatch, vocabulary: Vocabulary, ratio: float, draws: Draws) -> tuple[Tensor, Tensor]:
    """Which tokens are predicted, and what the network sees instead (BERT, Devlin et al., 2019, section 3.1).

    Each token but special ones is predicted with probability `ratio`; of those, 80 % become the mask token, 10 % a random one
    and 10 % stay.

    Args:
        batch: of N texts in rows (R, T).
        vocabulary: with the special tokens.
        ratio: of tokens that are predicted.
        draws: random numbers.

    Returns:
        bool (R, T), the predicted ones; int64 (R, T), the ids that the network sees.
    """
    special = torch.tensor(vocabulary.special, device=batch.device)
    allowed = batch.present & ~torch.isin(batch.ids, special)
    chosen = of_each_token(draws.uniform(len(batch), batch.longest), batch) < ratio
    chosen &= allowed
    fate = of_each_token(draws.uniform(len(batch), batch.longest), batch)
    random = of_each_token(draws.integers(vocabulary.size, len(batch), batch.longest), batch)
    seen = torch.where(chosen & (fate < 1 - KEPT), random, batch.ids)
    seen = torch.where(chosen & (fate < 1 - KEPT - RANDOM), mask_of(vocabulary), seen)
    return chosen, seen


def of_each_token(values: Tensor, batch: TokenBatch) -> Tensor:
    """A value for each text and place in it, where the tokens stand: (N, longest) → (R, T); that of text 0 where padding is."""
    return values[batch.texts.clamp_min(0), batch.places]


def masked_loss(
    batch: TokenBatch,
    vocabulary: Vocabulary,
    ratio: float,
    backbone: ContextBackbone,
    output: TokenOutput,
    draws: Draws,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The mean cross-entropy of the predicted tokens; the states of each text's first token, (N, dim); metrics."""
    _, logits, targets, firsts = _predict_masked(batch, vocabulary, ratio, backbone, output, draws)
    loss = mean_cross_entropy(logits, targets)
    numbers = {
        "masked_loss": loss.detach(),
        "perplexity": average(loss.detach()).exp(),
        "masked_accuracy": share_right(logits, targets),
    }
    return loss, firsts, numbers


def masked_token_losses(
    batch: TokenBatch,
    vocabulary: Vocabulary,
    ratio: float,
    backbone: ContextBackbone,
    output: TokenOutput,
    draws: Draws,
) -> tuple[Tensor, Tensor]:
    """The cross-entropy of each masked token, (M,), and the text that it is of, (M,)."""
    places, logits, targets, _ = _predict_masked(batch, vocabulary, ratio, backbone, output, draws)
    return F.cross_entropy(logits, targets, reduction="none"), batch.texts.flatten()[places]


def _predict_masked(
    batch: TokenBatch,
    vocabulary: Vocabulary,
    ratio: float,
    backbone: ContextBackbone,
    output: TokenOutput,
    draws: Draws,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the M masked tokens: places in the flat batch, logits (M, V), targets (M,); and the first states, (N, dim)."""
    chosen, seen = mask_tokens(batch, vocabulary, ratio, draws)
    places = chosen.flatten().nonzero()[:, 0]
    states = backbone.states_at(replace(batch, ids=seen), torch.cat([places, batch.firsts]))
    logits = output(states[: len(places)], backbone.embedding)
    return places, logits, batch.ids.flatten()[places], states[len(places) :]


def next_token_losses(
    states: Tensor, batch: TokenBatch, output: TokenOutput, backbone: TextBackbone
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The cross-entropy of every token but the first of its text, from the state before.

    Returns:
        (M,); the logits, (M, V); the targets, int64 (M,); the text that each is of, int64 (M,).
    """
    follows = batch.texts[:, 1:] == batch.texts[:, :-1]
    follows &= batch.present[:, 1:]
    logits, targets = output(states[:, :-1][follows], backbone.embedding), batch.ids[:, 1:][follows]
    return F.cross_entropy(logits, targets, reduction="none"), logits, targets, batch.texts[:, 1:][follows]


def mean_of_each_text(each: Tensor, texts: Tensor, count: int) -> Tensor:
    """The mean over the texts of the mean of each text's values, so that long ones count as short ones: (M,), (M,) → scalar."""
    sums = torch.zeros(count, dtype=each.dtype, device=each.device).index_add(0, texts, each)
    return (sums / texts.bincount(minlength=count).clamp_min(1)).mean()


def mean_of_all(each: Tensor) -> Tensor:
    """The mean over tokens, (M,) → scalar; 0 where there are none. Of several processes each counts by its tokens."""
    return each.sum() / max(len(each), 1) * weight(len(each))


def require_languages(vocabulary: Vocabulary, power: float) -> float | None:
    """The power, or None where each text is seen once an epoch; ValueError if it asks for languages that nothing tells."""
    if power == 1:
        return None
    if not vocabulary.languages:
        raise ValueError(f"language_power={power:g}: nothing says in which languages the texts are; set it to 1")
    return power


def mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """(M, C), (M,) → scalar; 0 where there is nothing to predict, as in a batch of very short texts.

    Of several processes each counts by how much it predicts.
    """
    return F.cross_entropy(logits, targets, reduction="sum") / max(len(targets), 1) * weight(len(targets))


@torch.no_grad()
def share_right(logits: Tensor, targets: Tensor) -> Tensor:
    """Fraction of correct predictions: (M, C), (M,) → scalar; 0 where there is nothing to predict.

    Of several processes each counts by how much it predicts.
    """
    return mean_of_all((logits.argmax(1) == targets).float())


def masked_pictures(
    batch: TokenBatch, vocabulary: Vocabulary, ratio: float, backbone: TextBackbone, output: TokenOutput, draws: Draws
) -> dict[str, Any]:
    """The texts with gaps, and for each gap what was there and the best five guesses."""
    chosen, _ = mask_tokens(batch, vocabulary, ratio, draws)
    masked = replace(batch, ids=torch.where(chosen, mask_of(vocabulary), batch.ids))
    best = output(backbone.states(masked)[chosen], backbone.embedding).topk(min(GUESSES, vocabulary.size)).indices.cpu()
    # Texts stand in rows by length, so that the gaps of one text follow each other, but its number may be any.
    guesses = [[] for _ in range(len(batch))]
    for token, guessed, text in zip(batch.ids[chosen].cpu(), best, batch.texts[chosen].tolist(), strict=True):
        found = "/".join(decoded(vocabulary, guess[None]) for guess in guessed)
        guesses[text].append(f"{decoded(vocabulary, token[None])} ← {found}")
    return {"masked": texts_of(vocabulary, masked), "guesses": ["; ".join(each) for each in guesses]}
