"""Corruptions of test texts that training did not show, at a strength that grows from 0, which changes nothing.

They change letters and words before these become tokens. Random numbers come from `source` alone, whatever the strength, so that
a stronger corruption is the same one, stronger, and every network sees the same texts. No text becomes empty. Where writing has
no spaces between words, each of its letters is one.
"""

import math
import re
from collections.abc import Callable

import torch

from ssl_cli.data.text.tokenizer import MARKS, rewritten
from ssl_cli.data.tokens import Tokens, Vocabulary

Corruption = Callable[[str, float, torch.Generator], str]

# Thai, Lao, Burmese, Khmer, Japanese and Chinese.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
WORD = re.compile(rf"\s*(?:[{UNSPACED}]|[^\s{UNSPACED}{MARKS}]+)")
KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def _neighbours(row: int, column: int) -> str:
    """The keys that touch one; each row of keys is shifted to the right of the one above."""
    places = ((row, column - 1), (row, column + 1), (row - 1, column), (row - 1, column + 1), (row + 1, column - 1),
              (row + 1, column))  # fmt: skip
    return "".join(KEYS[r][c] for r, c in places if 0 <= r < len(KEYS) and 0 <= c < len(KEYS[r]))


NEIGHBOURS = {key: _neighbours(row, column) for row, keys in enumerate(KEYS) for column, key in enumerate(keys)}


def typos(text: str, strength: float, source: torch.Generator) -> str:
    """A share `strength` of letters is mistyped: a neighbouring key, the next letter first, no letter, or the letter twice."""
    wrong, kinds, keys = torch.rand(3, len(text), generator=source)
    letters = list(text)
    for place in (wrong < strength).nonzero()[:, 0].tolist():
        letter = letters[place]
        if not letter.isalpha():
            continue
        near = NEIGHBOURS.get(letter.lower())
        has_next = place + 1 < len(letters) and letters[place + 1].isalpha()
        kind = _picked(("drop", "double", *(("key",) if near else ()), *(("swap",) if has_next else ())), kinds[place])
        if kind == "drop":
            letters[place] = ""
        elif kind == "double":
            letters[place] = 2 * letter
        elif kind == "swap":
            letters[place : place + 2] = letters[place + 1], letter
        elif near:
            key = _picked(near, keys[place])
            letters[place] = key.upper() if letter.isupper() else key
    return "".join(letters)


def upper_case(text: str, strength: float, source: torch.Generator) -> str:
    """A share `strength` of words in capital letters."""
    return _change_words(text, strength, source, _upper)


def lower_case(text: str, strength: float, source: torch.Generator) -> str:
    """A share `strength` of words in small letters."""
    return _change_words(text, strength, source, _lower)


def random_case(text: str, strength: float, source: torch.Generator) -> str:
    """A share `strength` of letters becomes a capital or a small one, at random."""
    drawn, capital = torch.rand(2, len(text), generator=source).tolist()
    return "".join(
        letter if number >= strength else _upper(letter) if side < 0.5 else _lower(letter)
        for letter, number, side in zip(text, drawn, capital, strict=True)
    )


def deleted_words(text: str, strength: float, source: torch.Generator) -> str:
    """A share `strength` of words is left out; one stays."""
    words = list(WORD.finditer(text))
    drawn = torch.rand(len(words), generator=source).tolist()
    kept = max(drawn, default=0.0)
    return _with_words(text, words, ["" if number < min(strength, kept) else None for number in drawn])


def truncation(text: str, strength: float, _source: torch.Generator) -> str:
    """A share `strength` of the text is missing at its end."""
    begin = len(text) - len(text.lstrip())
    return text[: begin + max(1, math.ceil((1 - strength) * (len(text.rstrip()) - begin)))]


def _upper(text: str) -> str:
    """In capital letters; what has no single one, such as ß, stays."""
    return "".join(letter.upper() if len(letter.upper()) == 1 else letter for letter in text)


def _lower(text: str) -> str:
    """In small letters; what has no single one stays."""
    return "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)


def _change_words(text: str, strength: float, source: torch.Generator, change: Callable[[str], str]) -> str:
    words = list(WORD.finditer(text))
    drawn = torch.rand(len(words), generator=source).tolist()
    changed = [change(word[0]) if number < strength else None for word, number in zip(words, drawn, strict=True)]
    return _with_words(text, words, changed)


def _with_words(text: str, words: list[re.Match[str]], changed: list[str | None]) -> str:
    """The text with words replaced; None leaves one as it is."""
    parts, end = [], 0
    for word, new in zip(words, changed, strict=True):
        parts += [text[end : word.start()], word[0] if new is None else new]
        end = word.end()
    return "".join((*parts, text[end:]))


def _picked(options: str | tuple[str, ...], number: torch.Tensor) -> str:
    """The option at a place in [0, 1) among equally wide ones."""
    return options[int(number * len(options))]


CORRUPTIONS: dict[str, Corruption] = {
    "typos": typos,
    "upper_case": upper_case,
    "lower_case": lower_case,
    "random_case": random_case,
    "deleted_words": deleted_words,
    "truncation": truncation,
}


def corrupted(vocabulary: Vocabulary, texts: Tokens, name: str, strength: float, source: torch.Generator) -> Tokens:
    """Texts, corrupted and tokenised as those that a network was trained on."""

    def change(text: str) -> str:
        changed = CORRUPTIONS[name](text, strength, source)
        return changed if changed.strip(MARKS + " ") else text

    return rewritten(texts, vocabulary, vocabulary, change)
