"""A finished run's network in the format of another library: of transformers for texts, one file for images."""

import logging
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.config.schema import Config
from ssl_cli.config.words import for_hydra
from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import quoted, sha256, short
from ssl_cli.runs.finished import settings_of
from ssl_cli.runs.identity import identity
from ssl_cli.runs.result import Result, finished_result
from ssl_cli.runs.run import Run
from ssl_cli.stages.export_images import FILES, Exported, export_network
from ssl_cli.stages.export_settings import ExportStage
from ssl_cli.stages.export_texts import export_transformer

log = logging.getLogger("ssl_cli")

HUGGINGFACE = "huggingface"


@dataclass(frozen=True, kw_only=True)
class ExportResult(Result):
    """Of an export: the folder with the files, or the file, and their hashes.

    model_class: that loads a folder of the library transformers.
    network: of images: what was measured of the file.
    """

    exported: str
    files: dict[str, str]
    model_class: str | None = None
    network: Exported | None = None


def export(config: Config, run: Run) -> dict[str, Any]:
    """Write the files; the numbers of the run.

    Raises:
        ConfigError: there is no finished run, the format has no network like its own, or a package is missing.
    """
    if run.result:
        return run.result
    stage = config.stage_as(ExportStage)
    if stage.run is None:
        raise ValueError("stage.run must be given")
    theirs = settings_of("stage.run", stage.run, "pre-training", "classifier")
    kind = _format(stage.format, stage.run)
    name, network = None, None
    if kind == HUGGINGFACE:
        folder, exported = run.folder / HUGGINGFACE, HUGGINGFACE
        name = export_transformer(stage.run, theirs, stage.heads, folder)
        files = sorted(folder.iterdir())
    else:
        exported = FILES[kind]
        network = export_network(stage.run, kind, run.folder / exported)
        files = [run.folder / exported]
    result = finished_result(stage.run)
    # What an earlier version gave its only format has the same identity.
    about = {} if kind == HUGGINGFACE else {"format": kind}
    return run.finish(
        ExportResult(
            identity=identity({"stage": "export", "heads": stage.heads, "run": result["identity"], **about}),
            labels=result["labels"],
            dataset=theirs.dataset.name,
            backbone=theirs.backbone.name,
            backbone_parameters=result["backbone_parameters"],
            exported=exported,
            model_class=name,
            network=network,
            files={path.name: sha256(path) for path in files},
        )
    )


def _format(asked: str, source: Path) -> str:
    """The format, by what the run was trained on where it is `auto`."""
    is_of_texts = (source / "tokenizer.json").exists()
    if asked == "auto":
        return HUGGINGFACE if is_of_texts else "safetensors"
    if is_of_texts and asked != HUGGINGFACE:
        raise ConfigError(
            f"stage.format={asked}: is for networks of images, and stage.run={source} was trained on texts; use {HUGGINGFACE}"
        )
    return asked


def closing(result: dict[str, Any], run: Run) -> None:
    """What can be loaded, and how."""
    path = run.folder / result["exported"]
    if result["model_class"]:
        log.info("transformers.%s.from_pretrained(%r)    # in %s", result["model_class"], str(path), quoted(run.folder))
        return
    network = result["network"]
    log.info(
        "%s: %.2f MB, %.2f ms an input. Pixels in 0–1, float32 (N, %s) → %s",
        quoted(path), network["bytes"] / 1e6, network["milliseconds"], ", ".join(map(str, network["shape"])), network["gives"],
    )  # fmt: skip


def next_steps(config: Config, result: dict[str, Any], run: Run) -> Iterator[tuple[str, str]]:
    """Take it in again."""
    if not result["model_class"]:
        return
    folder = for_hydra(short(run.folder / result["exported"]))
    words = (f"dataset.tokenizer.path={folder}", f"checkpoint={folder}")
    yield (
        f"{shlex.join(['ssl-cli', 'finetune', 'dataset=texts', *words])} …",
        "fine-tunes it on other texts",
    )
