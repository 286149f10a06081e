"""A finished run's transformer as files of the library transformers: a BERT, a GPT-2 or an XLM."""

from pathlib import Path

from ssl_cli.config.build import named
from ssl_cli.config.schema import Config
from ssl_cli.data.text.tokenizer import load_tokenizer, vocabulary_of
from ssl_cli.data.text.tokenizer_files import tokenizer_files
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.errors import ConfigError
from ssl_cli.models.backbones.transformer import Transformer
from ssl_cli.models.huggingface.writing import written
from ssl_cli.runs.files import write
from ssl_cli.runs.own import own_names
from ssl_cli.runs.weights import read_weights
from ssl_cli.stages.inputs import LANGUAGES

OUTPUTS = ("output", "next_sentence")  # layers of language models, by the names of a run's files


def export_transformer(source: Path, theirs: Config, heads: bool, folder: Path) -> str:
    """Write the files of a finished run's transformer; the class that loads them.

    Args:
        source: the folder of the run; theirs: its settings.
        heads: whether output layers come along.
        folder: to write into.

    Raises:
        ConfigError: it has another backbone or images, or its shape is none of the library's.
    """
    own = named(theirs.backbone)
    if not (isinstance(own, type) and issubclass(own, Transformer)):
        raise ConfigError(
            f"stage.run={source}: was trained with backbone={theirs.backbone.name}; "
            "the library transformers has the shapes of backbone=transformer"
        )
    settings = theirs.backbone.arguments
    vocabulary = _vocabulary(source)
    parts = OUTPUTS if heads else ()
    outputs = {name: read_weights(source, name) for name in parts if (source / f"{name}.safetensors").exists()}
    name, files = written(settings, vocabulary, read_weights(source, "backbone"), outputs)
    folder.mkdir(exist_ok=True)
    for file, content in {
        **files,
        **tokenizer_files(vocabulary, settings["max_length"], name.startswith("Bert")),
    }.items():
        write(folder / file, content)
    return name


def _vocabulary(folder: Path) -> Vocabulary:
    """The tokens and languages of a finished run."""
    path = folder / "tokenizer.json"
    if not path.exists():
        raise ConfigError(f"stage.run={folder}: has no tokenizer.json, so it was not trained on texts")
    languages = own_names(f"stage.run={folder}", folder / LANGUAGES)
    return vocabulary_of(load_tokenizer(path), languages, has_sentences=True)
