"""A finished run's transformer as files of the library transformers: a BERT, a GPT-2 or an XLM."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.config.build import named
from ssl_cli.config.schema import Config
from ssl_cli.data.text.tokenizer import load_tokenizer, vocabulary_of
from ssl_cli.data.text.tokenizer_files import tokenizer_files
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.errors import ConfigError
from ssl_cli.models.backbones.transformer import Transformer
from ssl_cli.models.huggingface.writing import written
from ssl_cli.runs.files import quoted, sha256, write
from ssl_cli.runs.finished import settings_of
from ssl_cli.runs.identity import identity
from ssl_cli.runs.result import Result, finished_result
from ssl_cli.runs.run import Run
from ssl_cli.runs.weights import read_weights
from ssl_cli.stages.export_settings import ExportStage

log = logging.getLogger("ssl_cli")

OUTPUTS = ("output", "next_sentence")  # layers of language models, by the names of a run's files


@dataclass(frozen=True, kw_only=True)
class ExportResult(Result):
    """Of an export: the folder with the files, the class that loads them, and their hashes."""

    exported: str
    model_class: str
    files: dict[str, str]


def export(config: Config, run: Run) -> dict[str, Any]:
    """Write the files; the numbers of the run.

    Raises:
        ConfigError: there is no finished run, it has another backbone or images, or its shape is none of the library's.
    """
    if run.result:
        return run.result
    stage = config.stage_as(ExportStage)
    if stage.run is None:
        raise ValueError("stage.run must be given")
    theirs = settings_of("stage.run", stage.run, "pre-training", "classifier")
    own = named(theirs.backbone)
    if not (isinstance(own, type) and issubclass(own, Transformer)):
        raise ConfigError(
            f"stage.run={stage.run}: was trained with backbone={theirs.backbone.name}; "
            "the library transformers has the shapes of backbone=transformer"
        )
    settings = theirs.backbone.arguments
    vocabulary = _vocabulary(stage.run)
    parts = OUTPUTS if stage.heads else ()
    outputs = {name: read_weights(stage.run, name) for name in parts if (stage.run / f"{name}.safetensors").exists()}
    name, files = written(settings, vocabulary, read_weights(stage.run, "backbone"), outputs)
    folder = run.folder / stage.format
    folder.mkdir(exist_ok=True)
    for file, content in {
        **files,
        **tokenizer_files(vocabulary, settings["max_length"], name.startswith("Bert")),
    }.items():
        write(folder / file, content)
    result = finished_result(stage.run)
    return run.finish(
        ExportResult(
            identity=identity({"stage": "export", "heads": stage.heads, "run": result["identity"]}),
            labels=result["labels"],
            dataset=theirs.dataset.name,
            backbone=theirs.backbone.name,
            backbone_parameters=result["backbone_parameters"],
            exported=stage.format,
            model_class=name,
            files={path.name: sha256(path) for path in sorted(folder.iterdir())},
        )
    )


def _vocabulary(folder: Path) -> Vocabulary:
    """The tokens and languages of a finished run."""
    path, spoken = folder / "tokenizer.json", folder / "languages.json"
    if not path.exists():
        raise ConfigError(f"stage.run={folder}: has no tokenizer.json, so it was not trained on texts")
    languages = tuple(json.loads(spoken.read_text(encoding="utf-8"))) if spoken.exists() else ()
    return vocabulary_of(load_tokenizer(path), languages, has_sentences=True)


def closing(result: dict[str, Any], run: Run) -> None:
    """What can be loaded, and how."""
    folder = run.folder / result["exported"]
    log.info("transformers.%s.from_pretrained(%r)    # in %s", result["model_class"], str(folder), quoted(run.folder))


def next_steps(config: Config, result: dict[str, Any], run: Run) -> Iterator[tuple[str, str]]:
    """Take it in again."""
    folder = quoted(run.folder / result["exported"])
    yield (
        f"ssl-cli finetune dataset=texts dataset.tokenizer.path={folder} checkpoint={folder} …",
        "fine-tunes it on other texts",
    )
