"""Your own labelled texts in several languages, and translations without labels that tie the languages together."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

from ssl_cli.config.schema import Bpe, Columns, TextFacts
from ssl_cli.data.text.corpus import Corpus, Text
from ssl_cli.data.text.rows import listed, read_records
from ssl_cli.data.text.store import stored
from ssl_cli.data.text.texts import corpus_of, hash_of, split_up
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError


def parallel(
    root: Path,
    columns: Columns,
    pairs: Path,
    languages: list[str],
    labelled_languages: list[str] | None,
    sentences: str | None,
    encoding: str,
    test_fraction: Annotated[float, "(0, 1)"],
    tokenizer: Bpe,
    cache: Path,
    facts: TextFacts,
) -> Dataset:
    """Labelled texts, and translations as unlabelled training texts; the translations of a row are one case.

    Args:
        root: labelled texts, in the forms of `texts`.
        columns: names of their columns; `language` has the names that `languages` has.
        pairs: a file in one of the formats of `texts`, with a column for each language.
        languages: its columns.
        labelled_languages: whose labels may be used; training texts in other languages have none; null for all.
        sentences: what stands between the sentences of a text; null where nothing marks them.
        encoding: of the files.
        test_fraction: of the labelled texts of each class that is held out where nothing says which are for the test.
        tokenizer: how texts become tokens.
        cache: the folder where tokens are kept.
        facts: what is known.

    Raises:
        ConfigError: a file or a column is missing, or the texts make no data set.
    """
    if len(set(languages)) < 2 or len(set(languages)) < len(languages):
        raise ConfigError(f"dataset.languages={languages}: must be the names of at least two different columns")
    if not pairs.is_file():
        raise ConfigError(f"dataset.pairs={pairs}: there is no such file")
    own = corpus_of(root, columns, sentences, encoding, test_fraction)
    source = {**own.source, "pairs": hash_of(pairs), "pairs_name": pairs.name, "pair_languages": languages}
    read = partial(_texts, own, pairs, languages, sentences, encoding)
    return stored(replace(own, source=source, texts=read), tokenizer, cache, labelled_languages)


def _texts(own: Corpus, pairs: Path, languages: list[str], sentences: str | None, encoding: str) -> Iterator[Text]:
    """Translations, then the others; a text that stands there twice stays once, and both rows are one case."""
    cases: dict[bytes, int] = {}
    for number, record in read_records(pairs, encoding, "dataset.pairs"):
        place = f"{pairs.name}:{number}"
        members = [
            Text(split_up(said, sentences), language=language, is_test=False, place=place)
            for language in languages
            if (said := _said(record, language, pairs)).strip()
        ]
        if len(members) < 2:
            yield Text((), place=place, left_out="incomplete pair")
            continue
        known = next((cases[key] for key in map(Text.digest, members) if key in cases), number)
        for member in members:
            yield member._replace(case=cases.setdefault(member.digest(), known))
    for text in own.texts():
        yield text._replace(case=cases.get(text.digest()))


def _said(record: dict[str, object], language: str, pairs: Path) -> str:
    if language not in record:
        raise ConfigError(f"dataset.languages={language}: {pairs} has no such column; it has {listed(record)}")
    value = record[language]
    return "" if value is None or value != value else str(value)
