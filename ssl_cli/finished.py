"""Settings read back from the folders of finished runs."""

from pathlib import Path

import yaml

from ssl_cli.config import check, foreign_targets
from ssl_cli.errors import ConfigError
from ssl_cli.runs import read_result
from ssl_cli.schema import Config


def settings_of(key: str, value: str, stages: tuple[str, ...]) -> Config:
    """The settings of the finished run that `key`=`value` names.

    Raises:
        ConfigError: it is no finished run of one of these stages, or would run foreign code.
    """
    folder = finished_at(key, value, stages, "that of a finished run", " or ".join(stages))
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    foreign = foreign_targets(settings, ())
    if foreign:
        raise ConfigError(f"{key}={value}: would run code of {foreign[0]}, which is not part of this program")
    try:
        return check(settings)
    except ConfigError as error:
        raise ConfigError(
            *(f"{key}={value}: its settings do not fit this version ({problem})" for problem in error.problems)
        ) from error


def finished_at(key: str, value: str, stages: tuple[str, ...], instead: str, wanted: str) -> Path:
    """The folder of the finished run of one of these stages that `key`=`value` names.

    Raises:
        ConfigError: it is none; `instead` and `wanted` say what the value, and what the run, must be.
    """
    folder = Path(value).expanduser().absolute()
    if not (folder / "config.yaml").exists():
        raise ConfigError(f"{key}={value}: is no run's folder; it must be {instead}")
    result = read_result(folder)
    if result is None:
        raise ConfigError(f"{key}={value}: is not finished; go on with it by resume={folder}")
    if result["stage"] not in stages:
        raise ConfigError(f"{key}={value}: is a run of stage={result['stage']}; it must be {wanted}")
    return folder
