"""Finished runs, found and read back: is it there, is it what is wanted, with which settings was it made?"""

import logging
from pathlib import Path
from typing import Any

from ssl_cli.config.build import plain
from ssl_cli.config.schema import BackboneComponent, Config, HeadComponent
from ssl_cli.errors import ConfigError
from ssl_cli.runs.own import own_settings
from ssl_cli.runs.result import FORMAT, finished_runs, read_result
from ssl_cli.runs.saved import saved_settings
from ssl_cli.runs.weights import read_weights

log = logging.getLogger("ssl_cli")

ORIGIN = (
    "run_id", "identity", "method", "dataset", "source", "collapsed", "loss", "epochs", "knn_accuracy", "seconds", "init_from",
)  # fmt: skip


def settings_of(key: str, folder: Path, *ends_in: str) -> Config:
    """The settings of the finished run that `key`=`folder` names, which must end in one of these.

    Raises:
        ConfigError: it is no such run, is not finished, or would run code that is not trusted.
    """
    finished_at(key, folder, ends_in, "that of a finished run")
    return saved_settings(f"{key}={folder}", folder)


def finished_at(key: str, folder: Path, ends_in: tuple[str, ...], instead: str) -> Path:
    """The folder of the finished run that `key`=`folder` names, which must end in one of these.

    Raises:
        ConfigError: it is none; `instead` says what the value must be.
    """
    if not (folder / "config.yaml").exists():
        raise ConfigError(f"{key}={folder}: is no run's folder; it must be {instead}")
    result = read_result(folder)
    if result is None:
        raise ConfigError(f"{key}={folder}: is not finished; go on with it by resume={folder}")
    if result.get("format") != FORMAT:
        raise ConfigError(
            f"{key}={folder}: is a run of another version of this program, whose result.json this one cannot read; run it again"
        )
    if result.get("ends_in") not in ends_in:
        raise ConfigError(
            f"{key}={folder}: is a run of stage={result.get('stage')}; it must end in a {' or a '.join(ends_in)}"
        )
    return folder


def finished_pretraining(
    key: str,
    folder: Path,
    otherwise: str,
    scale: float | None,
    backbone: BackboneComponent | None,
    projection: HeadComponent | None,
) -> Path:
    """The folder of the finished pre-training that `key`=`folder` names, if its network is the one that is wanted.

    Args:
        key, folder: as typed; `otherwise` is the other value that the key can have.
        scale: of pixels; None for texts.
        backbone: the settings of the backbone that gets its weights; None where another one gets some of them.
        projection: those of the projection head, layers of which are kept; None where it is not.

    Raises:
        ConfigError: it is not finished, is no pre-training, or was trained with another network or range of pixels.
    """
    finished_at(key, folder, ("pre-training",), f"{otherwise} or the folder of a pre-training")
    asked = f"{key}={folder}"
    theirs = own_settings(asked, folder)
    try:
        trained_with: float | None = theirs["augment"]["scale"]
        others = {"backbone": {**theirs["backbone"]}, "head": {**theirs["head"]["projection"]}}
        names = {group: theirs[group]["name"] for group in others}
        said = _number(trained_with)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{asked}: its config.yaml is not one that a run writes, or of another version") from error
    problems: list[str] = []
    if trained_with != scale:
        problems.append(f"augment.scale={_number(scale)}: {asked} was trained with {said}")
    for group, own in (("backbone", backbone), ("head", projection)):
        if own is not None and {**plain(own), "name": ""} != {**others[group], "name": ""}:
            problems.append(f"{group}={own.name}: {asked} was trained with {names[group]} and its settings")
    if problems:
        raise ConfigError(*problems)
    return folder


def _number(value: float | None) -> str:
    return "null" if value is None else f"{value:g}"


def find_pretraining(root: Path, wanted: str) -> Path | None:
    """The folder of a finished pre-training of an identity below a folder, with weights that something can start from."""
    return next((folder for folder, _ in finished_runs(root) if is_usable(folder, wanted)), None)


def is_usable(folder: Path, wanted: str) -> bool:
    """Whether a folder holds the finished pre-training of an identity, with weights that something can start from."""
    try:
        result = read_result(folder)
    except ConfigError as error:
        log.warning("A pre-training is not used: %s.", error)
        return False
    if result is None or (result.get("format"), result.get("identity")) != (FORMAT, wanted):
        return False
    try:
        read_weights(folder, "backbone")
    except ConfigError as error:
        log.warning("A pre-training with these settings is not used: %s.", error)
        return False
    return True


def origin(start: Path | None) -> dict[str, Any] | None:
    """What a result says of the pre-training behind it, and of those behind that."""
    if start is None:
        return None
    result = read_result(start) or {}
    return {"folder": str(start), **{key: result.get(key) for key in ORIGIN}}
