"""Settings read back from the folder of a run, which may be a stranger's."""

from pathlib import Path
from typing import Any, cast

import yaml

from ssl_cli.config import trust
from ssl_cli.config.compose import check
from ssl_cli.config.schema import Config
from ssl_cli.errors import ConfigError


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
        return check(cast(dict[str, Any], settings), trust.from_a_file)
    except ConfigError as error:
        raise ConfigError(
            *(f"{asked}: its saved settings cannot be used: {said}" for said in error.problems)
        ) from error
