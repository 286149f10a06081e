"""`inputs.json`: which inputs a network takes and which classes it tells apart, so that it can be used without its data."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch

from ssl_cli.data.images.files import Fit, Reading
from ssl_cli.data.text.tokenizer import load_tokenizer, vocabulary_of
from ssl_cli.data.tokens import Tokens
from ssl_cli.data.types import Dataset, Split
from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import write
from ssl_cli.runs.own import own_names
from ssl_cli.runs.run import Run

NAME, LANGUAGES = "inputs.json", "languages.json"
FORMAT = 1  # raised when a key changes its meaning
LARGEST = {
    "height": 16_384,
    "width": 16_384,
    "channels": 1024,
}  # a stranger's file must not ask for more memory than there is
MOST_CLASSES = 1_000_000


@dataclass(frozen=True)
class InputFacts:
    """What a network takes and gives.

    classes: in the order of its outputs; empty for a pre-training.
    reading: how an image file becomes an input; None for texts.
    sentences: whether texts have marks between their sentences.
    """

    kind: Literal["images", "texts"]
    classes: tuple[str, ...]
    reading: Reading | None = None
    sentences: bool = False


def save_inputs(run: Run, dataset: Dataset, classes: tuple[str, ...] = ()) -> None:
    """`inputs.json` beside the weights; for texts also `tokenizer.json` and `languages.json`, without which they mean nothing.

    Args:
        run: of the network.
        dataset: that it was trained on.
        classes: that it tells apart; none for a pre-training.
    """
    vocabulary = dataset.vocabulary
    about: dict[str, Any] = {"format": FORMAT, "kind": "images" if vocabulary is None else "texts", "classes": classes}
    if vocabulary is None:
        channels, height, width = dataset.shape
        about |= asdict(dataset.reading or Reading(height, width, channels))
    else:
        about["sentences"] = vocabulary.sentence is not None
        write(run.folder / "tokenizer.json", vocabulary.tokenizer)
        if vocabulary.languages:
            write(run.folder / LANGUAGES, json.dumps(vocabulary.languages, ensure_ascii=False))
    write(run.folder / NAME, json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def read_inputs(key: str, folder: Path) -> InputFacts:
    """What the network in the folder `key`=`folder`, which may be a stranger's, takes and gives.

    Raises:
        ConfigError: there is no such file, or a value has another type or is outside its range.
    """
    about = _object(f"{key}={folder}: its {NAME}", folder / NAME)
    problems: list[str] = []
    if about.get("format") != FORMAT:
        problems.append(f"format must be {FORMAT}")
    if about.get("kind") not in ("images", "texts"):
        problems.append("kind must be images or texts")
    classes = about.get("classes")
    if not (_is_list_of_text(classes) and len(cast(list[str], classes)) <= MOST_CLASSES):
        problems.append("classes must be a list of names")
    elif len(cast(list[str], classes)) == 1:
        problems.append("classes must be at least 2, or none")
    is_of_images = about.get("kind") == "images"
    if is_of_images:
        problems += [
            f"{name} must be a whole number in [1, {most}]"
            for name, most in LARGEST.items()
            if type(about.get(name)) is not int or not 1 <= about[name] <= most
        ]
        if about.get("fit") not in get_args(Fit):
            problems.append(f"fit must be one of {', '.join(get_args(Fit))}")
    elif type(about.get("sentences")) is not bool:
        problems.append("sentences must be true or false")
    if problems:
        raise ConfigError(f"{key}={folder}: its {NAME} cannot be used: {'; '.join(problems)}")
    reading = Reading(about["height"], about["width"], about["channels"], about["fit"]) if is_of_images else None
    return InputFacts(about["kind"], tuple(about["classes"]), reading, about.get("sentences", False))


def without_data(key: str, folder: Path, facts: InputFacts, name: str) -> Dataset:
    """A data set of this form with no inputs in it, for what builds networks.

    Args:
        key, folder: of the finished run, as typed.
        facts: of its network.
        name: of the data set that it was trained on.

    Raises:
        ConfigError: its tokenizer is missing or none.
    """
    none = torch.empty(0, dtype=torch.int64)
    if facts.reading is not None:
        pixels = torch.empty(0, *facts.reading.shape, dtype=torch.uint8)
        return Dataset(Split(pixels, none), Split(pixels, none), facts.classes, name=name, reading=facts.reading)
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ConfigError(f"{key}={folder}: has no tokenizer.json, without which texts cannot be read")
    vocabulary = vocabulary_of(load_tokenizer(path), own_names(f"{key}={folder}", folder / LANGUAGES), facts.sentences)
    texts = Split(Tokens(none.int(), none, none), none)
    return Dataset(texts, texts, facts.classes, name=name, vocabulary=vocabulary)


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast(list[Any], value))


def _object(what: str, path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ConfigError(f"{what} is missing: the run is of an earlier version of this program; run it again")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # JSON and Unicode errors are ValueErrors
        raise ConfigError(f"{what} cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{what} must be an object")
    return cast(dict[str, Any], found)
