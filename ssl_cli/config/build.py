"""From a component in the settings to the thing it describes, and back to plain values."""

import importlib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast

from ssl_cli.config.schema import Component, Stage
from ssl_cli.errors import ConfigError


def build(target: Component, **given: Any) -> Any:
    """What a target describes, with the arguments that the program adds.

    Raises:
        ConfigError: it was refused by its own constructor (ValueError).
    """
    thing = named(target)
    try:
        return thing(**target.arguments, **given)
    except ValueError as error:
        raise ConfigError(f"{as_typed(target)}: {error}") from error


def as_typed(target: Component) -> str:
    """How a component is set: its group and choice, or the key of one that is no choice of a group."""
    return target.name if "." in target.name else f"{target.group or 'component'}={target.name}"


def named(target: Component) -> Any:
    """The class or function that a target names."""
    module_name, _, name = target.path.rpartition(".")
    return getattr(importlib.import_module(module_name), name)


def plain(value: Any) -> Any:
    """Typed settings as they stand in YAML; `check(plain(config)) == config`."""
    if isinstance(value, Component):
        return {"name": value.name, "_target_": value.path, **plain(value.arguments)}
    if isinstance(value, Stage):
        own = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return {"name": value.name, "_target_": f"{type(value).__module__}.{type(value).__qualname__}", **own}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in cast(dict[str, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in cast(Sequence[Any], value)]
    return str(value) if isinstance(value, Path) else value
