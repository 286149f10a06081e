"""Texts of a data set in the form of the library datasets, from a folder or from its hub."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from ssl_cli.config.schema import Bpe, TextFacts
from ssl_cli.data.text.corpus import Corpus, Text
from ssl_cli.data.text.rows import listed
from ssl_cli.data.text.store import stored
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError

PARTS = {"train": False, "test": True, "unsupervised": False, "unlabelled": False}
WITHOUT_LABELS = ("unsupervised", "unlabelled")


def huggingface(
    path: str,
    configuration: str | None,
    text: str,
    label: str | None,
    test_fraction: Annotated[float, "[0, 1)"],
    tokenizer: Bpe,
    cache: Path,
    facts: TextFacts,
) -> Dataset:
    """Texts of a data set of the library datasets; its splits train, test, unsupervised and unlabelled are used.

    Args:
        path: a folder that `save_to_disk` wrote, or a name on the hub, from which it is downloaded.
        configuration: which of several data sets under that name; null where there is one.
        text: the column of the texts.
        label: that of the labels; null where there is none.
        test_fraction: of the labelled texts of each class that is held out where there is no split named test.
        tokenizer: how texts become tokens.
        cache: the folder where tokens are kept.
        facts: what is known.

    Raises:
        ConfigError: the library is missing, there is no such data set or column, or the texts make no data set.
    """
    splits = _splits(path, configuration)
    for name, split in splits.items():
        for key, column in (("text", text), ("label", label if name not in WITHOUT_LABELS else None)):
            if column is not None and column not in split.column_names:
                there = listed(dict.fromkeys(split.column_names))
                raise ConfigError(f"dataset.{key}={column}: {name} of {path} has no such column; it has {there}")
    source = {
        "huggingface": {name: split._fingerprint for name, split in splits.items()},
        "columns": [text, label],
        "test_fraction": test_fraction,
    }
    read = partial(_texts, splits, text, label)
    return stored(Corpus(source, read, has_sentences=False, test_fraction=test_fraction), tokenizer, cache)


def _splits(path: str, configuration: str | None) -> dict[str, Any]:
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            "dataset=huggingface needs the package datasets: pip install 'ssl-cli[huggingface]'"
        ) from error
    try:
        found: Any = (
            datasets.load_from_disk(path) if Path(path).is_dir() else datasets.load_dataset(path, configuration)
        )
    except Exception as error:  # the library raises whatever its file systems and the network raise
        raise ConfigError(f"dataset.path={path}: cannot be loaded ({error})") from error
    if not isinstance(found, dict):
        return {"train": found}
    splits = {name: found[name] for name in PARTS if name in found}
    if not any(name != "test" for name in splits):
        raise ConfigError(f"dataset.path={path}: has no split named train; it has {listed(found)}")
    return splits


def _texts(splits: dict[str, Any], text: str, label: str | None) -> Iterator[Text]:
    for name, split in splits.items():
        column = None if name in WITHOUT_LABELS else label
        names = getattr(split.features[column], "names", None) if column else None
        rows = split.select_columns([text, *([column] if column else [])])
        for number, row in enumerate(rows):
            value = row[column] if column else None
            said = None if value is None or value in (-1, "") else names[value] if names else str(value)
            is_test = PARTS[name] if "test" in splits else None
            yield Text((row[text] or "",), label=said, is_test=is_test, place=f"{name}:{number}")
