"""Translations that training has not seen: does the nearest text in another language say the same?"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_cli.data.text.rows import is_decoded, listed, read_records
from ssl_cli.data.text.texts import hash_of
from ssl_cli.data.text.tokenizer import encoded, from_text
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.data.types import Dataset, Inputs, Tokens
from ssl_cli.errors import ConfigError
from ssl_cli.training.evaluate import nearest

KEY = "stage.translations"


@dataclass(frozen=True)
class Translations:
    """Rows of texts that say the same.

    tokens: all texts, language after language.
    rows: for each language the rows that have a text in it, int64, in the order of `tokens`.
    texts: the texts themselves, for each language: two rows may say the same.
    """

    tokens: Tokens
    rows: dict[str, Tensor]
    texts: dict[str, list[str]]
    hash: str

    def found(self, features: Callable[[Inputs], Tensor]) -> dict[str, dict[str, Any]]:
        """By pair of languages, such as `en → de`: `inputs`, how many texts are translated; `precision_at_1`.

        Each text in the first language is compared by cosine with all texts in the second that translate one in the first;
        it counts as right if the nearest is its translation.
        """
        parts = features(self.tokens).split([len(each) for each in self.rows.values()])
        by_language = dict(zip(self.rows, parts, strict=True))
        measured: dict[str, dict[str, Any]] = {}
        for one, other in permutations(self.rows, 2):
            ours, theirs = torch.isin(self.rows[one], self.rows[other]), torch.isin(self.rows[other], self.rows[one])
            if not ours.any():
                continue
            hits = nearest(by_language[one][ours], by_language[other][theirs])
            said = [text for text, shared in zip(self.texts[other], theirs.tolist(), strict=True) if shared]
            right = sum(said[hit] == said[item] for item, hit in enumerate(hits.tolist()))
            measured[f"{one} → {other}"] = {"inputs": len(said), "precision_at_1": round(right / len(said), 6)}
        return measured


def read_translations(path: Path, dataset: Dataset) -> Translations:
    """The translations in a file with a column for each language.

    Raises:
        ConfigError: the file or its columns are not there, it is not UTF-8, or the classifier knows no two of its languages.
    """
    vocabulary = _vocabulary(path, dataset)
    rows: dict[str, list[int]] = {}
    texts: dict[str, list[str]] = {}
    for number, record in read_records(path, "utf-8", KEY):
        known = [name for name in vocabulary.languages if name in record]
        if len(known) < 2:
            raise ConfigError(
                f"{KEY}={path}: must have columns for two of the languages of the training texts, which are "
                f"{', '.join(vocabulary.languages)}; it has {listed(record)}"
            )
        for language in known:
            if said := str(record[language] or "").strip():
                if not is_decoded(said):
                    raise ConfigError(f"{KEY}={path}: row {number} is not UTF-8; save the file as UTF-8")
                rows.setdefault(language, []).append(number)
                texts.setdefault(language, []).append(said)
    if len(rows) < 2:
        raise ConfigError(f"{KEY}={path}: has no text with a translation")
    return Translations(
        _tokens(vocabulary, texts), {name: torch.tensor(each) for name, each in rows.items()}, texts, hash_of(path)
    )


def _vocabulary(path: Path, dataset: Dataset) -> Vocabulary:
    if dataset.vocabulary is None or not dataset.vocabulary.languages:
        raise ConfigError(f"{KEY}={path}: stage.run is no classifier of texts in several languages; must be null")
    return dataset.vocabulary


def _tokens(vocabulary: Vocabulary, texts: dict[str, list[str]]) -> Tokens:
    ids = [
        torch.tensor(each, dtype=torch.int32)
        for said in texts.values()
        for each in encoded(from_text(vocabulary.tokenizer), said)
    ]
    lengths = torch.tensor([len(each) for each in ids])
    languages = [torch.full((len(said),), vocabulary.languages.index(name)) for name, said in texts.items()]
    return Tokens(torch.cat(ids), lengths.cumsum(0) - lengths, lengths, torch.cat(languages).to(torch.uint8))
