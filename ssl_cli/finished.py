"""Settings read back from the folders of finished runs."""

from pathlib import Path

import yaml

from ssl_cli import trust
from ssl_cli.config import check
from ssl_cli.errors import ConfigError
from ssl_cli.runs import read_result
from ssl_cli.schema import Config


def settings_of(key: str, folder: Path, stages: tuple[str, ...]) -> Config:
    """The settings of the finished run that `key`=`folder` names.

    Raises:
        ConfigError: it is no finished run of one of these stages, or would run code that is not trusted.
    """
    finished_at(key, folder, stages, "that of a finished run", " or ".join(stages))
    return saved_settings(f"{key}={folder}", folder)


def saved_settings(asked: str, folder: Path) -> Config:
    """The settings in a run's folder, which may be a stranger's: they may name what `trust` allows, and nothing else.

    Raises:
        ConfigError: they cannot be read, name what is not trusted, or do not fit this version.
    """
    try:
        settings = yaml.safe_load((folder / "config.yaml").read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{asked}: its config.yaml cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{asked}: its config.yaml holds no settings")
    try:
        return check(settings, trust.from_a_file)
    except ConfigError as error:
        raise ConfigError(
            *(f"{asked}: its saved settings cannot be used: {said}" for said in error.problems)
        ) from error


def finished_at(key: str, folder: Path, stages: tuple[str, ...], instead: str, wanted: str) -> Path:
    """The folder of the finished run of one of these stages that `key`=`folder` names.

    Raises:
        ConfigError: it is none; `instead` and `wanted` say what the value, and what the run, must be.
    """
    if not (folder / "config.yaml").exists():
        raise ConfigError(f"{key}={folder}: is no run's folder; it must be {instead}")
    result = read_result(folder)
    if result is None:
        raise ConfigError(f"{key}={folder}: is not finished; go on with it by resume={folder}")
    if result["stage"] not in stages:
        raise ConfigError(f"{key}={folder}: is a run of stage={result['stage']}; it must be {wanted}")
    return folder
