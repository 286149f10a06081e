"""The weights that a network begins with, from a finished run or from a folder of the library transformers."""

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ssl_cli.data.tokens import Vocabulary
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError
from ssl_cli.methods.base import Method
from ssl_cli.models.heads import HeadFactory, ProjectionHead
from ssl_cli.models.huggingface.reading import is_folder, output_weights_of, read_model, weights_of
from ssl_cli.runs.files import short
from ssl_cli.runs.own import own_names
from ssl_cli.runs.result import finished_result
from ssl_cli.runs.weights import read_weights

log = logging.getLogger("ssl_cli")

EMBEDDING = "embedding.weight"  # of tokens, in every backbone for texts
LANGUAGES = "language_embedding.weight"


def load_backbone(backbone: nn.Module, folder: Path, asked: str, dataset: Dataset) -> nn.Module:
    """Load a backbone's weights.

    Args:
        backbone: to load them into.
        folder: of a finished run, or of the library transformers.
        asked: the setting that names the folder, for the error message.
        dataset: the data that the backbone is for.

    Returns:
        what got weights: the backbone, or its token embeddings alone, where the run was of a bag.

    Raises:
        ConfigError: they are damaged, or do not fit because that run's inputs had another shape or other tokens.
    """
    if dataset.vocabulary and is_folder(folder):
        weights = weights_of(read_model(folder, asked), _shapes(backbone.state_dict()), dataset.vocabulary)
        backbone.load_state_dict(weights)
        return backbone
    weights = read_weights(folder, "backbone")
    theirs = f"{asked}: was trained on dataset={finished_result(folder)['dataset']}, whose"
    if dataset.vocabulary:
        _check_tokens(folder, asked, theirs, dataset.name, dataset.vocabulary, languages=LANGUAGES in weights)
    if _is_start_of(weights, backbone):
        log.info("Token embeddings are those of %s; all other weights are random.", short(folder))
        backbone.load_state_dict(weights, strict=False)
        return backbone.get_submodule(EMBEDDING.rpartition(".")[0])
    if not _fit(weights, backbone):
        differing = "tokens" if dataset.vocabulary else "colours or sides"
        raise ConfigError(
            f"{theirs} inputs have other {differing} than those of dataset={dataset.name}, and need another backbone"
        )
    backbone.load_state_dict(weights)
    return backbone


def _check_tokens(folder: Path, asked: str, theirs: str, name: str, vocabulary: Vocabulary, languages: bool) -> None:
    """Raises ConfigError where the same numbers mean other tokens, or other languages."""
    tokenizer = folder / "tokenizer.json"
    if tokenizer.exists() and tokenizer.read_text(encoding="utf-8") != vocabulary.tokenizer:
        raise ConfigError(
            f"{theirs} tokenizer is another than that of dataset={name}: the same numbers mean other tokens; "
            f"add dataset.tokenizer.path={folder}"
        )
    known = own_names(asked, folder / "languages.json") if languages else ()
    if known and known != vocabulary.languages:
        raise ConfigError(
            f"{theirs} languages are {', '.join(known)}; dataset={name} has {', '.join(vocabulary.languages)}"
        )


def _is_start_of(weights: Mapping[str, Tensor], backbone: nn.Module) -> bool:
    """Whether these are the embeddings of tokens alone, of a backbone that has more."""
    own = _shapes(backbone.state_dict())
    return set(weights) == {EMBEDDING} != set(own) and own.get(EMBEDDING) == tuple(weights[EMBEDDING].shape)


def load_outputs(method: Method, folder: Path, asked: str) -> None:
    """Load the weights of a method's output layers, but for its projection head, where a folder has some of the same shape."""
    for name, layers in method.saved().items():
        if name == "head":  # loaded while the method is built, since some copy it
            continue
        weights: Mapping[str, Tensor] | None = None
        if is_folder(folder):
            weights = output_weights_of(read_model(folder, asked), name, _shapes(layers.state_dict()))
        elif (folder / f"{name}.safetensors").exists():
            weights = read_weights(folder, name)
        if weights is not None and _fit(weights, layers):
            layers.load_state_dict(weights)


def head_from(weights: dict[str, Tensor], make: HeadFactory, inputs: int, classes: int | None = None) -> ProjectionHead:
    """A projection head, with the weights of an earlier one if the shapes agree."""
    head = make(inputs=inputs) if classes is None else make(inputs=inputs, classes=classes)
    if _fit(weights, head):
        head.load_state_dict(weights)
    return head


def _fit(weights: Mapping[str, Tensor], module: nn.Module) -> bool:
    return _shapes(weights) == _shapes(module.state_dict())


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in weights.items()}
