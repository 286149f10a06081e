"""Transformers of the three shapes that the library transformers has too, with random weights and a tokenizer of a few texts."""

from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

from ssl_cli.augment.text import TextViews
from ssl_cli.config.schema import Bpe, Span, TokenDropout
from ssl_cli.data.text.tokenizer import encoded, from_text, train_tokenizer, vocabulary_of
from ssl_cli.data.text.tokenizer_files import tokenizer_files
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Tokens, Vocabulary
from ssl_cli.models.backbones.transformer import Transformer
from ssl_cli.models.huggingface.writing import written

TEXTS = ["what a fine and pleasant day", "an awful evening", "Caffè, 你好 and so on, number 12 of them"]
USUAL = {
    "dim": 24, "layers": 3, "heads": 4, "mlp_ratio": 4.0, "causal": False, "positions": "learned", "norm": "post",
    "max_length": 40, "segments": True, "languages": False, "dropout": 0.1, "pooling": "mean", "norm_eps": 1e-12,
    "activation": "gelu",
}  # fmt: skip
GPT2 = {"causal": True, "norm": "pre", "segments": False, "norm_eps": 1e-5, "activation": "gelu_tanh"}
SHAPES = {
    "bert": USUAL,
    "bert, others": {**USUAL, "mlp_ratio": 1.5, "norm_eps": 1e-3, "activation": "relu"},
    "bert, no segments": {**USUAL, "segments": False},
    "gpt2": {**USUAL, **GPT2},
    "gpt2, others": {**USUAL, **GPT2, "mlp_ratio": 2.0, "activation": "gelu", "norm_eps": 1e-3},
    "xlm": {**USUAL, "segments": False, "languages": True},
    "xlm, causal": {**USUAL, "segments": False, "causal": True, "activation": "relu"},
}


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    trained = train_tokenizer(TEXTS * 3, Bpe(path=None, vocabulary=300, sample=100, lowercase=False))
    return vocabulary_of(trained, ("de", "en", "it"), has_sentences=True)


def with_random_weights(module: nn.Module) -> nn.Module:
    """All of them, biases and layer norms too, so that none could be left out unseen."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=0.1, std=0.3)
    return module.eval()


def made(shape: str, words: Vocabulary | None = None) -> Transformer:
    return with_random_weights(Transformer(words or vocabulary(), **SHAPES[shape]))  # pyright: ignore[reportReturnType]


def batch_of(
    texts: list[str], words: Vocabulary, languages: list[int] | None = None, pairs: bool = False
) -> TokenBatch:
    """Texts as networks get them, the first two of them as one pair."""
    ids = list(encoded(from_text(words.tokenizer), texts))
    if pairs:
        ids = [[*ids[0], words.pair, *ids[1]], *ids[2:]]
    lengths = torch.tensor([len(each) for each in ids])
    flat = torch.tensor([number for each in ids for number in each], dtype=torch.int32)
    spoken = None if languages is None else torch.tensor(languages, dtype=torch.uint8)
    tokens = Tokens(flat, lengths.cumsum(0) - lengths, lengths, spoken)
    return TextViews(words, 40, Span(0.0, (0.3, 0.7)), TokenDropout(0.0)).plain(tokens, torch.device("cpu"))


def save(folder: Path, shape: str, network: Transformer, outputs: dict[str, nn.Module] | None = None) -> str:
    """The folder that `ssl-cli export` writes; the library's class for it."""
    folder.mkdir(parents=True)
    states = {name: layers.state_dict() for name, layers in (outputs or {}).items()}
    settings, words = SHAPES[shape], network.vocabulary
    name, files = written(settings, words, network.state_dict(), states)
    for file, content in {**files, **tokenizer_files(words, settings["max_length"], name.startswith("Bert"))}.items():
        (folder / file).write_bytes(content)
    return name
