"""Small texts, vocabularies and networks for tests, made without a tokenizer."""

import torch

from ssl_cli.augment.text import TextViews
from ssl_cli.config.schema import Span, TokenDropout
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Tokens, Vocabulary
from ssl_cli.models.backbones.transformer import Transformer
from ssl_cli.randomness import Draws

PAD, MASK, FIRST, LAST, PAIR, SENTENCE = range(6)
VOCABULARY = Vocabulary(40, PAD, MASK, FIRST, LAST, PAIR, SENTENCE)
BILINGUAL = Vocabulary(40, PAD, MASK, FIRST, LAST, PAIR, None, languages=("en", "it"))
CPU = torch.device("cpu")


def tokens(texts: list[list[int]], languages: list[int] | None = None) -> Tokens:
    """Texts of these tokens."""
    lengths = torch.tensor([len(text) for text in texts])
    flat = torch.tensor([token for text in texts for token in text], dtype=torch.int32)
    spoken = None if languages is None else torch.tensor(languages, dtype=torch.uint8)
    return Tokens(flat, lengths.cumsum(0) - lengths, lengths, spoken)


def some_texts(count: int = 12, longest: int = 14, seed: int = 0) -> list[list[int]]:
    """Texts of random lengths and tokens that are not special."""
    source = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=source).tolist()
    return [torch.randint(6, VOCABULARY.size, (length,), generator=source).tolist() for length in lengths]


def text_views(
    max_length: int = 32, vocabulary: Vocabulary = VOCABULARY, p: float = 0.0, drop: float = 0.0, share=(0.3, 0.7)
):
    return TextViews(vocabulary, max_length, Span(p, share), TokenDropout(drop))


def batch_of(
    texts: list[list[int]], languages=None, vocabulary: Vocabulary = VOCABULARY, max_length: int = 32
) -> TokenBatch:
    """The texts as evaluation sees them."""
    return text_views(max_length, vocabulary).plain(tokens(texts, languages), CPU)


def parts(batch: TokenBatch, name: str = "ids") -> list[list[int]]:
    """What each text has in a field of a batch."""
    flat = getattr(batch, name).flatten().tolist()
    return [flat[a : b + 1] for a, b in zip(batch.firsts.tolist(), batch.lasts.tolist(), strict=True)]


def transformer(vocabulary: Vocabulary = VOCABULARY, **settings) -> Transformer:
    torch.manual_seed(0)
    usual = {
        "dim": 16, "layers": 2, "heads": 2, "mlp_ratio": 2.0, "causal": False, "positions": "learned", "norm": "pre",
        "max_length": 32, "segments": False, "languages": False, "dropout": 0.0, "pooling": "mean",
    }  # fmt: skip
    made = Transformer(vocabulary, **{**usual, **settings})
    for parameter in made.parameters():  # wide enough that what should not reach a state would show in it
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def train(method, batch_at, steps: int, lr: float = 0.01) -> list[float]:
    """The losses of some steps of Adam on `batch_at(step)`."""
    optimiser, found = torch.optim.Adam(method.parameters(), lr=lr), []
    for step in range(steps):
        optimiser.zero_grad()
        loss, _ = method.loss(batch_at(step), None, Draws(0, "test", step))
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    return found
