"""Byte-level BPE (Sennrich et al., 2016): a vocabulary of one's own that has a token for every text in any language.

A tokenizer of somebody else's may take its place, with special tokens of other names.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_cli.config.schema import Bpe
from ssl_cli.data.token_batch import TokenBatch
from ssl_cli.data.tokens import Tokens, Vocabulary
from ssl_cli.errors import ConfigError

SENTENCE, PAIR = (
    "\ufdd0",
    "\ufdd1",
)  # stand for these special tokens in a string; they are no characters, so no text has them
MARKS = SENTENCE + PAIR
# What tokenizers call the special tokens: this program's, BERT's, XLM's and GPT-2's, the first that is there.
ROLES = {
    "pad": ("[PAD]", "<pad>"),
    "mask": ("[MASK]", "<mask>", "<special1>"),
    "first": ("[CLS]", "<s>", "<|endoftext|>"),
    "last": ("[SEP]", "</s>", "<|endoftext|>"),
    "pair": ("[PAIR]", "[SEP]", "</s>", "<|endoftext|>"),
    "sentence": ("[SENTENCE]",),
}
SPECIAL = ("[PAD]", "[MASK]", "[CLS]", "[SEP]", "[PAIR]", "[SENTENCE]")  # in the order of `Vocabulary`'s fields


def library() -> Any:
    """The tokenizers library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise ConfigError("texts need the package tokenizers: pip install 'ssl-cli[text]'") from error
    return tokenizers


def train_tokenizer(texts: Iterable[str], settings: Bpe) -> Any:
    """A tokenizer trained on these texts; equal texts give equal tokenizers, byte for byte."""
    parts = library()
    tokenizer = parts.Tokenizer(parts.models.BPE())
    steps = [parts.normalizers.NFC(), *([parts.normalizers.Lowercase()] if settings.lowercase else [])]
    tokenizer.normalizer = parts.normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = parts.pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = parts.decoders.ByteLevel()
    trainer = parts.trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(parts.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return as_text(tokenizer)


def load_tokenizer(path: Path) -> Any:
    """The tokenizer in a `tokenizer.json`.

    Raises:
        ConfigError: it is none.
    """
    try:
        return as_text(library().Tokenizer.from_file(str(path)))
    except Exception as error:  # the library raises nothing more specific
        raise ConfigError(f"{path}: is no tokenizer ({error})") from error


def read_tokenizer(path: Path) -> Any:
    """The tokenizer at `dataset.tokenizer.path`, a file or a folder.

    Raises:
        ConfigError: there is none, or it has no tokens to put around a text.
    """
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        instead = (
            f"; its older files are turned into one by AutoTokenizer.from_pretrained({str(path)!r}).save_pretrained"
            if (path / "vocab.txt").exists() or (path / "vocab.json").exists()
            else ""
        )
        raise ConfigError(f"dataset.tokenizer.path={path}: there is no tokenizer.json{instead}")
    tokenizer = load_tokenizer(file)
    vocabulary_of(tokenizer, (), has_sentences=False)
    return tokenizer


@lru_cache(maxsize=4)
def from_text(content: str) -> Any:
    """The tokenizer whose `tokenizer.json` this is."""
    return as_text(library().Tokenizer.from_str(content))


def as_text(tokenizer: Any) -> Any:
    """So that `[MASK]` in somebody's text is six characters and not the special token, and that nothing is cut or added."""
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.post_processor = None
    return tokenizer


def vocabulary_of(tokenizer: Any, languages: tuple[str, ...], has_sentences: bool) -> Vocabulary:
    """The vocabulary of a tokenizer.

    One without a token for padding takes that after a text, since padding is told by its place. One without a token between
    sentences, as those of others are, leaves sentences unmarked.

    Raises:
        ConfigError: it has no token to begin or to end a text with.
    """
    numbers = tokenizer.get_vocab()
    ids: dict[str, Any] = {
        role: next((numbers[name] for name in names if name in numbers), None) for role, names in ROLES.items()
    }
    for role in ("first", "last"):
        if ids[role] is None:
            where = {"first": "begin", "last": "end"}[role]
            raise ConfigError(
                f"dataset.tokenizer.path: the tokenizer has no token to {where} a text with; "
                f"must have one of {', '.join(ROLES[role])}"
            )
    if ids["pad"] is None:
        ids["pad"] = ids["last"]
    if not has_sentences:
        ids["sentence"] = None
    size = 1 + max(numbers.values())
    return Vocabulary(size, **ids, languages=languages, tokenizer=tokenizer.to_str())


def encoded(tokenizer: Any, texts: list[str]) -> Iterator[list[int]]:
    """The tokens of each text, without any around it."""
    for found in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
        yield found.ids


def decoded(vocabulary: Vocabulary, ids: Tensor) -> str:
    """The text of tokens, with the special ones left out, but for the mask, which is shown as ▁."""
    shown = [number for number in ids.tolist() if number not in vocabulary.special or number == vocabulary.mask]
    tokenizer = from_text(vocabulary.tokenizer)
    text = tokenizer.decode(shown, skip_special_tokens=False)
    return (text if vocabulary.mask is None else text.replace(tokenizer.id_to_token(vocabulary.mask), " ▁")).strip()


def texts_of(vocabulary: Vocabulary, inputs: Tokens | TokenBatch) -> list[str]:
    """All texts, decoded."""
    if isinstance(inputs, Tokens):
        return [decoded(vocabulary, inputs.text(item)) for item in range(len(inputs))]
    flat = inputs.ids.flatten()
    spans = zip(inputs.firsts.tolist(), inputs.lasts.tolist(), strict=True)
    return [decoded(vocabulary, flat[first : last + 1]) for first, last in spans]


def rewritten(texts: Tokens, read: Vocabulary, write: Vocabulary, change: Callable[[str], str]) -> Tokens:
    """Texts changed as strings, in which `SENTENCE` and `PAIR` stand between the parts of a text.

    Args:
        texts: as tokens of `read`.
        read, write: the vocabularies before and after, which may be the same one.
        change: what happens to each text, in this order.

    Returns:
        the texts as tokens of `write`, in the same languages; where nothing is changed, the same tokens again.
    """
    tokenizer = from_text(read.tokenizer)
    before = {read.pair: PAIR, **({} if read.sentence is None else {read.sentence: SENTENCE})}
    after = {PAIR: [write.pair], SENTENCE: [] if write.sentence is None else [write.sentence]}
    pieces: list[str] = []
    counts: list[int] = []
    for item in range(len(texts)):
        said = change("".join(_pieces(tokenizer, texts.text(item).tolist(), before))).rstrip(MARKS)
        found = re.split(f"([{MARKS}])", said)
        pieces += found
        counts.append(len(found))
    ids = encoded(from_text(write.tokenizer), pieces)
    flat: list[int] = []
    lengths: list[int] = []
    numbered = iter(zip(pieces, ids, strict=True))
    for count in counts:
        own = [token for piece, tokens in islice(numbered, count) for token in after.get(piece, tokens)]
        flat += own
        lengths.append(len(own))
    sizes = torch.tensor(lengths, dtype=torch.int64)
    languages = texts.languages if read.languages == write.languages else _renumbered(texts, read, write)
    return Tokens(torch.tensor(flat, dtype=torch.int32), sizes.cumsum(0) - sizes, sizes, languages)


def _pieces(tokenizer: Any, ids: list[int], marks: dict[int, str]) -> Iterator[str]:
    """The parts of a text, and the marks between them."""
    for is_mark, run in groupby(ids, key=marks.__contains__):
        if is_mark:
            yield from (marks[number] for number in run)
        else:
            yield re.sub(f"[{MARKS}]", "\ufffd", tokenizer.decode(list(run), skip_special_tokens=False))


def _renumbered(texts: Tokens, read: Vocabulary, write: Vocabulary) -> Tensor | None:
    """The languages of texts by their numbers in another vocabulary, which must know them."""
    if texts.languages is None or not write.languages:
        return None
    numbers = torch.tensor([write.languages.index(name) for name in read.languages], dtype=torch.uint8)
    return numbers[texts.languages.long()]
