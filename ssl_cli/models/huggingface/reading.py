"""Folders as the library transformers writes them, read without running code."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ssl_cli.config.typecheck import anything, shown, typed
from ssl_cli.data.text.tokenizer import load_tokenizer
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.errors import ConfigError
from ssl_cli.models.huggingface.architecture import Architecture, Same
from ssl_cli.models.huggingface.bert import Bert
from ssl_cli.models.huggingface.gpt2 import Gpt2
from ssl_cli.models.huggingface.xlm import Xlm
from ssl_cli.runs.weights import not_finite

ARCHITECTURES: dict[str, type[Architecture]] = {kind.kind: kind for kind in (Bert, Gpt2, Xlm)}
FILES = ("config.json", "tokenizer.json", "model.safetensors")
LARGEST = 10_000_000  # bytes of config.json
OLD_NAMES = {".gamma": ".weight", ".beta": ".bias"}  # of layer norms, in files that came from TensorFlow
# What folders call the sizes that this program names otherwise.
SYNONYMS = {"n_words": "vocab_size"}


@dataclass(frozen=True)
class Model:
    """A folder's network: where it is, which setting named it, what it is."""

    folder: Path
    asked: str
    architecture: Architecture


def is_folder(folder: Path) -> bool:
    """Whether a folder has a model as transformers writes it, and no run."""
    return (folder / "config.json").is_file() and not (folder / "config.yaml").exists()


def read_model(folder: Path, asked: str) -> Model:
    """What is in a folder, by its `config.json`, each value of which is checked before it is used.

    Args:
        folder: with `config.json`, `tokenizer.json` and `model.safetensors`.
        asked: the setting that names the folder, for messages.

    Raises:
        ConfigError: a file is missing or damaged, or it is none of the architectures that this program has.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ConfigError(f"{asked}: has no {missing[0]}{_instead(folder, missing[0])}")
    path = folder / "config.json"
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("it is larger than any")
        said = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(said, dict):
            raise ValueError("it is no JSON object")
    except (ValueError, RecursionError, OSError) as error:
        raise ConfigError(f"{asked}: config.json cannot be read ({error})") from error
    kind = ARCHITECTURES.get(str(said.get("model_type")))
    if kind is None:
        raise ConfigError(
            f"{asked}: config.json.model_type={shown(said.get('model_type'))}: must be one of {', '.join(ARCHITECTURES)}"
        )
    known = {field.name: field for field in fields(kind)}
    given = {SYNONYMS.get(key, key): value for key, value in said.items()}
    # What is not said has the library's default, and null is how some versions say that.
    given = {key: value for key, value in given.items() if key in known and value is not None}
    own = kind()
    problems: list[str] = []
    whole = {name: getattr(own, name) for name in known} | given
    architecture = typed(whole, kind, "config.json", problems, anything)
    if not problems:
        problems += architecture.problems()
    if problems:
        raise ConfigError(*(f"{asked}: {problem}" for problem in problems))
    return Model(folder, asked, architecture)


def _instead(folder: Path, name: str) -> str:
    """What to do about a file that is not there."""
    again = f"AutoTokenizer.from_pretrained({str(folder)!r}).save_pretrained"
    if name == "tokenizer.json" and ((folder / "vocab.txt").exists() or (folder / "vocab.json").exists()):
        return f"; its older files are turned into one by {again}"
    if name == "model.safetensors" and (folder / "model.safetensors.index.json").exists():
        return "; its weights are in several files, and must be in one"
    if name == "model.safetensors" and (folder / "pytorch_model.bin").exists():
        return "; pytorch_model.bin may run code when it is read: save the model with safe_serialization=True"
    return ""


def differences(model: Model, own: Mapping[str, Any]) -> list[str]:
    """The settings that a transformer must have to take a folder's weights, of those that are others: `backbone.KEY=VALUE`."""
    found = []
    for key, value in model.architecture.settings().items():
        is_same = own.get(key) == value
        if key == "mlp_ratio":  # what counts is the width that it comes to
            is_same = round(own[key] * own["dim"]) == round(value * own["dim"])
        if not is_same:
            found.append(f"backbone.{key}={shown(value)}")
    return found


def weights_of(model: Model, shapes: Mapping[str, tuple[int, ...]], vocabulary: Vocabulary) -> dict[str, Tensor]:
    """The weights of a transformer, from a folder.

    Args:
        model: the folder.
        shapes: of the transformer's tensors, by their names.
        vocabulary: of the texts, whose tokenizer must be the folder's.

    Raises:
        ConfigError: the texts have another tokenizer or another language, or the file is damaged.
    """
    theirs = load_tokenizer(model.folder / "tokenizer.json").to_str()
    if theirs != vocabulary.tokenizer:
        raise ConfigError(
            f"{model.asked}: has a tokenizer of its own, and the texts have another: the same numbers would mean other tokens; "
            f"add dataset.tokenizer.path={model.folder}"
        )
    if model.architecture.rows()["embedding.weight"] < vocabulary.size:
        raise ConfigError(f"{model.asked}: tokenizer.json has {vocabulary.size:,} tokens, and config.json fewer")
    tensors = _tensors(model.folder, model.asked, model.architecture.prefix)
    found: dict[str, Tensor] = {}
    for same in model.architecture.tensors():
        shape = (model.architecture.rows().get(same.own, shapes[same.own][0]), *shapes[same.own][1:])
        value = _read(same, tensors, shape, model.asked)
        if same.own == "embedding.weight":
            value = value[: vocabulary.size]  # more rows than tokens make the table's size a round number
        if same.own == "language_embedding.weight":
            try:
                value = value[model.architecture.language_rows(vocabulary.languages)]
            except ValueError as error:
                raise ConfigError(f"{model.asked}: {error}") from error
        found[same.own] = value
    broken = not_finite(found)
    if broken:
        raise ConfigError(f"{model.asked}: model.safetensors: {broken} is not finite")
    return found


def output_weights_of(model: Model, name: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor] | None:
    """The weights of an output layer as a run keeps them in `NAME.safetensors`; None where the folder has none of this shape."""
    wanted = model.architecture.outputs().get(name)
    if not model.architecture.tie_word_embeddings or wanted is None or {same.own for same in wanted} != set(shapes):
        return None
    tensors = _tensors(model.folder, model.asked, "")
    size = model.architecture.rows()["embedding.weight"]
    found: dict[str, Tensor] = {}
    for same in wanted:
        if not all(part in tensors for part in same.theirs):
            return None
        own = shapes[same.own]
        value = _read(same, tensors, (size,) if same.own == "bias" else own, model.asked)
        found[same.own] = value[: own[0]]
    return None if not_finite(found) else found


def _read(same: Same, tensors: Mapping[str, Tensor], shape: tuple[int, ...], asked: str) -> Tensor:
    wanted = same.their_shape(shape)
    for name in same.theirs:
        if name not in tensors:
            raise ConfigError(f"{asked}: model.safetensors has no {name}")
        if tuple(tensors[name].shape) != wanted or not tensors[name].is_floating_point():
            there = "×".join(map(str, tensors[name].shape))
            raise ConfigError(
                f"{asked}: model.safetensors: {name} is {there} {tensors[name].dtype}; "
                f"by config.json it must be {'×'.join(map(str, wanted))} floating-point numbers"
            )
    return same.read(tensors)


def _tensors(folder: Path, asked: str, prefix: str) -> dict[str, Tensor]:
    """All tensors of a folder by their names, without a prefix where they have it."""
    try:
        found = load((folder / "model.safetensors").read_bytes())
    except (SafetensorError, ValueError, OSError) as error:
        raise ConfigError(f"{asked}: model.safetensors is damaged ({error})") from error
    for old, new in OLD_NAMES.items():
        found = {name[: -len(old)] + new if name.endswith(old) else name: value for name, value in found.items()}
    return {name.removeprefix(prefix): value for name, value in found.items()}


def fingerprint(folder: Path) -> str:
    """A hash of what a folder's files hold."""
    digest = hashlib.sha256()
    for name in FILES:
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()[:16]
