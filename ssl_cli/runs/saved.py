"""Settings read back from the folder of a run, which may be a stranger's."""

from pathlib import Path

from ssl_cli import __version__
from ssl_cli.config import trust
from ssl_cli.config.compose import check
from ssl_cli.config.schema import Config
from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import printable
from ssl_cli.runs.own import own_settings
from ssl_cli.runs.reading import DamagedError, read_json


def saved_settings(asked: str, folder: Path) -> Config:
    """The settings in a run's folder, which may be a stranger's: they may name what `trust` allows, and nothing else.

    Raises:
        ConfigError: they cannot be read, name what is not trusted, or do not fit this version.
    """
    settings = own_settings(asked, folder)
    try:
        return check(settings, trust.from_a_file)
    except ConfigError as error:
        raise ConfigError(
            *(f"{asked}: its saved settings cannot be used{_version(folder)}: {said}" for said in error.problems)
        ) from error


def _version(folder: Path) -> str:
    """In brackets, which version of this program a run is of, where it is another one."""
    try:
        theirs = (read_json(folder / "run.json") or {}).get("ssl_cli")
    except DamagedError:
        return ""
    if theirs == __version__:
        return ""
    whose = f"version {printable(theirs)}" if isinstance(theirs, str) else "an earlier version"
    return f" (they are of {whose}, and this is version {__version__})"
