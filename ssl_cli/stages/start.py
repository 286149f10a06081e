"""What does a run start from? From random weights, or from a pre-training: one that was named, found, or is made now."""

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

from ssl_cli.config.automatic import is_open
from ssl_cli.config.schema import Config
from ssl_cli.data.types import Dataset
from ssl_cli.models.huggingface.reading import is_folder as is_model
from ssl_cli.runs import claim
from ssl_cli.runs.files import short, write
from ssl_cli.runs.finished import find_pretraining, finished_at, is_usable
from ssl_cli.runs.result import read_result
from ssl_cli.runs.run import Run
from ssl_cli.runs.turns import Turn
from ssl_cli.stages.identity import pretraining_identity
from ssl_cli.stages.pretrain import check_sources, pretrain
from ssl_cli.stages.pretrain_settings import PretrainStage
from ssl_cli.stages.shared_pretraining import one_pretraining_at_a_time, to_go_on_with
from ssl_cli.stages.sources import source_at
from ssl_cli.training.device import Machine

log = logging.getLogger("ssl_cli")

START, OWN = "start.json", "pretrain"


def check_start(config: Config) -> None:
    """Before anything is trained, whether the pre-training can be had that a run starts from.

    Raises:
        ConfigError: the folder that `checkpoint` names does not fit, or one that a new pre-training would begin from or
            learn from.
    """
    if config.checkpoint == "auto":
        check_sources(config)
    else:
        named_checkpoint(config)


def check_named_folders(config: Config) -> None:
    """Before there is a folder of the run, whether `checkpoint` and `init_from` name what can be started from.

    Where the network is still to be chosen by the data, or the stage keeps layers of the head, the rest is checked by the stage.

    Raises:
        ConfigError: one is not finished, is no pre-training, or was trained with another network or range of pixels.
    """
    for key, folder, otherwise in (
        ("checkpoint", config.checkpoint, "auto"),
        ("init_from", config.init_from, "random"),
    ):
        if not isinstance(folder, Path):
            continue
        if not is_open(config):
            source_at(key, folder, otherwise, config, None)
        elif not is_model(folder):
            finished_at(key, folder, ("pre-training",), f"{otherwise} or the folder of a pre-training")


def named_checkpoint(config: Config) -> Path:
    """The folder of the pre-training that `checkpoint` names.

    Raises:
        ConfigError: it is not finished, is no pre-training, or was trained with another network or range of pixels.
    """
    if config.checkpoint == "auto":
        raise ValueError("checkpoint=auto names no folder")
    projection = config.head.projection if config.head.keep != 0 else None
    return source_at("checkpoint", config.checkpoint, "auto", config, projection)


def find_or_pretrain(config: Config, run: Run, dataset: Dataset, machine: Machine) -> Path:
    """The folder of the pre-training to start from: the one that was named, one with the same settings, or a new one.

    Raises:
        ConfigError: the run that was named is not finished, is no pre-training or has another architecture.
    """
    if config.checkpoint != "auto":
        return named_checkpoint(config)
    check_sources(config)
    wanted = pretraining_identity(config, dataset, machine)
    choice = run.folder / START  # a resumed run starts from what it started from
    chosen = _chosen(choice)
    if chosen is not None:
        if is_usable(chosen, wanted):
            return chosen
        log.warning("%s names %s, which is no pre-training with these settings; it is not used.", START, chosen)
    with one_pretraining_at_a_time(config.outputs, wanted, run) as turn:
        return _made_already(config, run, wanted) or _made_now(config, run, wanted, dataset, machine, turn)


def _made_already(config: Config, run: Run, wanted: str) -> Path | None:
    """The folder of a finished pre-training of an identity; None where there is none, or the run has begun one itself."""
    own = run.folder / OWN
    if own.exists():
        return own if read_result(own) else None
    beside = (path.parent for root in (run.folder.parent, run.folder.parent.parent) for path in _near(root))
    found = find_pretraining(config.outputs, wanted) or next(
        (folder for folder in beside if is_usable(folder, wanted)), None
    )
    if found:
        log.info("Pre-trained already with these settings: %s", short(found))
        _note_start(run, found)
    return found


def _made_now(config: Config, run: Run, wanted: str, dataset: Dataset, machine: Machine, turn: Turn) -> Path:
    """The folder of a pre-training that is trained now: one that another run has begun and not ended, or one inside this run."""

    def is_wanted(settings: Config) -> bool:
        return pretraining_identity(settings, dataset, machine) == wanted

    own = replace(config, stage=PretrainStage("pretrain"))
    begun = None if (run.folder / OWN).exists() else to_go_on_with(turn, is_wanted, run)
    settings, inside = begun or (own, run.child(OWN, own))
    turn.works_in(inside.folder)
    # So that whoever goes on with it notices where this process still lives, or lives again.
    with claim.claimed(inside.folder):
        pretrain(settings, inside)
    turn.done()
    if begun:
        _note_start(run, inside.folder)
    return inside.folder


def _chosen(choice: Path) -> Path | None:
    """The folder that a run began with; None where nothing is noted, or what is noted can no longer be read."""
    if not choice.is_file():
        return None
    try:
        return Path(os.path.normpath(choice.parent.resolve() / str(json.loads(choice.read_text()))))
    except (ValueError, RecursionError):
        log.warning("%s is damaged, so that what the run started from is looked for anew.", choice)
        return None


def _note_start(run: Run, start: Path) -> None:
    """Relative where it can be, so that the two folders may be moved together."""
    try:
        place = os.path.relpath(start.resolve(), run.folder.resolve())
    except ValueError:  # on another drive of Windows
        place = str(start.absolute())
    write(run.folder / START, json.dumps(place))


def _near(root: Path) -> list[Path]:
    """Results beside a run that was given a folder of its own outside `outputs`."""
    return sorted(
        [*root.glob("*/result.json"), *root.glob("*/pretrain/result.json"), *root.glob("*/*/pretrain/result.json")]
    )
