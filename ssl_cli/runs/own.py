"""Files of a run read by who uses them: what is damaged is one sentence that names the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import printable, short
from ssl_cli.runs.reading import DamagedError, read_json, read_names, read_yaml

Kinds = Mapping[str, type | tuple[type, ...]]


def own_object(path: Path, must_hold: Kinds | None = None, if_there: Kinds | None = None) -> dict[str, Any] | None:
    """The JSON object in a file of a run; None where there is no file.

    Args:
        path: of the file. It may be a link, as where large files are kept elsewhere.
        must_hold: types of what stands there by name.
        if_there: types of what may.

    Raises:
        ConfigError: it is damaged.
    """
    try:
        found = read_json(path.resolve())
    except DamagedError as error:
        raise damaged(path, str(error)) from error
    if found is not None:
        check_kinds(path, found, must_hold or {}, if_there or {})
    return found


def check_kinds(path: Path, found: Mapping[str, Any], must_hold: Kinds, if_there: Kinds) -> None:
    """Raises ConfigError where the object in a file lacks a value, or one has another type; as of `own_object`."""
    for name, kind in must_hold.items():
        if name not in found:
            raise damaged(path, f"{name} is missing")
        _check(path, name, found[name], kind)
    for name, kind in if_there.items():
        if found.get(name) is not None:
            _check(path, name, found[name], kind)


def own_settings(asked: str, folder: Path) -> dict[str, Any]:
    """What stands in the `config.yaml` of a run's folder; `asked` is the setting that names it.

    Raises:
        ConfigError: it is damaged, or missing.
    """
    try:
        found = read_yaml((folder / "config.yaml").resolve())
    except DamagedError as error:
        raise ConfigError(f"{asked}: its config.yaml cannot be read ({printable(str(error))})") from error
    if found is None:
        raise ConfigError(f"{asked}: has no config.yaml; is it a run's folder?")
    return found


def own_names(asked: str, path: Path) -> tuple[str, ...]:
    """The JSON list of names in a file of the run that `asked`, a setting, names; none where there is no file.

    Raises:
        ConfigError: it is damaged.
    """
    try:
        return read_names(path.resolve()) or ()
    except DamagedError as error:
        raise ConfigError(f"{asked}: its {path.name} cannot be read ({printable(str(error))})") from error


def damaged(path: Path, why: str) -> ConfigError:
    """What is said of a run's file that is not what a run writes."""
    return ConfigError(
        f"{printable(short(path.parent))}: its {path.name} is damaged ({printable(why)}); put it back from a copy, or train "
        "that run again"
    )


def _check(path: Path, name: str, value: Any, kind: type | tuple[type, ...]) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise damaged(path, f"{name} has another type")
