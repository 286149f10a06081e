"""The pre-trainings that runs start from: are they there, and do they fit?"""

from pathlib import Path
from typing import Any

import yaml

from ssl_cli.config import plain
from ssl_cli.errors import ConfigError
from ssl_cli.finished import finished_at
from ssl_cli.runs import read_result
from ssl_cli.schema import Config
from ssl_cli.surrogates import check_features


def check_start(config: Config) -> None:
    """Before anything is trained, whether the pre-training can be had that a run starts from.

    Raises:
        ConfigError: the folder that `checkpoint` names does not fit, or one that a new pre-training would begin from or
            learn from.
    """
    if config.checkpoint == "auto":
        started_from(config)
        check_features(config)
    else:
        asked_for(config)


def asked_for(config: Config) -> Path:
    """The folder of the pre-training that `checkpoint` names.

    Raises:
        ConfigError: it is not finished, is no pre-training, or was trained with another network or range of pixels.
    """
    return _pretraining_at("checkpoint", config.checkpoint, "auto", config, with_head=config.head.keep != 0)


def started_from(config: Config) -> Path | None:
    """The folder of the pre-training that `start` names, from which another one goes on; None for random weights.

    Raises:
        ConfigError: as of `asked_for`; the head may differ, it is then a new one.
    """
    if config.start == "random":
        return None
    return _pretraining_at("start", config.start, "random", config, with_head=False)


def origin(start: Path | None) -> dict[str, Any] | None:
    """What a result says of the pre-training behind it, and of those behind that."""
    if start is None:
        return None
    result = read_result(start)
    kept = (
        "run_id",
        "identity",
        "method",
        "dataset",
        "source",
        "collapsed",
        "loss",
        "epochs",
        "knn_accuracy",
        "seconds",
    )
    return {"folder": str(start), **{key: result.get(key) for key in (*kept, "start")}}


def _pretraining_at(key: str, value: Path, otherwise: str, config: Config, with_head: bool) -> Path:
    folder = finished_at(key, value, ("pretrain",), f"{otherwise} or the folder of a pre-training", "a pre-training")
    theirs = yaml.safe_load((folder / "config.yaml").read_text())
    problems, asked = [], f"{key}={value}"
    if theirs["augment"]["scale"] != config.augment.scale:
        problems.append(
            f"augment.scale={config.augment.scale:g}: {asked} was trained with {theirs['augment']['scale']:g}"
        )
    for group, name in (("backbone", config.backbone.name), ("head", config.head.name)):
        own = plain(config.backbone if group == "backbone" else config.head.projection)
        other = theirs[group] if group == "backbone" else theirs[group]["projection"]
        needed = group == "backbone" or with_head
        if needed and {**own, "name": ""} != {**other, "name": ""}:
            problems.append(f"{group}={name}: {asked} was trained with {theirs[group]['name']} and its settings")
    if problems:
        raise ConfigError(*problems)
    return folder
