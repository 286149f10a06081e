"""From the command line to one checked, typed config, and from a part of it to the thing it describes.

The only module that knows OmegaConf. Everything wrong is found at once, before torch is imported or data is read.
"""

import importlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli.contradictions import contradictions
from ssl_cli.errors import ConfigError
from ssl_cli.schema import Config, Target
from ssl_cli.typed import nearest, shown, typed

TRUSTED = ("ssl_cli",)
NAME = "config"  # conf/config.yaml
GROUPS = ("stage", "dataset", "budget", "augment", "backbone", "head", "method", "schedule", "runtime", "experiment")


def folder() -> Path:
    """Where the YAML files are: inside an installed package, beside it in a checkout."""
    installed = Path(__file__).parent / "conf"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "conf"


def check(settings: dict[str, Any]) -> Config:
    """The typed config that plain settings describe.

    Raises:
        ConfigError: with every problem there is.
    """
    problems: list[str] = []
    config = typed(settings, Config, "", problems)
    if isinstance(config, Config):
        problems += contradictions(config)
    if problems:
        raise ConfigError(*problems)
    return config


def resolved(settings: DictConfig) -> dict[str, Any]:
    """Hydra's config as plain values, interpolations carried out.

    Raises:
        ConfigError: an interpolation or a mandatory value is missing.
    """
    try:
        return OmegaConf.to_container(settings, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from error


# The command line


def from_overrides(*overrides: str) -> Config:
    """The config of a command line without a sweep, for use from Python.

    Raises:
        ConfigError: with every problem there is.
    """
    (config,) = precheck(overrides, multirun=False)
    return config


def precheck(
    overrides: Sequence[str], multirun: bool, extra_folder: str | None = None, name: str | None = None
) -> list[Config]:
    """The configs of a command line, one for each job of a sweep, before Hydra makes a folder.

    Raises:
        ConfigError: with every problem there is in any of them.
    """
    problems: list[str] = []
    configs: list[Config] = []
    with initialize_config_dir(str(folder()), version_base="1.3"):
        search = [f"hydra.searchpath=[file://{Path(extra_folder).absolute()}]"] if extra_folder else []
        parsed = [override for text in overrides if (override := _parsed(text, problems)) is not None]
        for job in _jobs(parsed, multirun, problems):
            try:
                configs.append(_job(search, job, name or NAME))
            except ConfigError as error:
                problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise ConfigError(*problems)
    return configs


def _parsed(text: str, problems: list[str]) -> Override | None:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        stages = _options("stage")
        if "=" not in text and not text.startswith(("+", "~")):
            problems.append(f"{text}: is neither a stage nor key=value{nearest(text, stages)}")
        else:
            problems.append(f"{text}: cannot be read ({_first_line(error)})")
        return None


def _jobs(overrides: list[Override], multirun: bool, problems: list[str]) -> Iterator[list[str]]:
    """The overrides of each job: one, or every combination of a sweep's values."""
    choices: list[list[str]] = []
    for override in overrides:
        if not override.is_sweep_override():
            choices.append([override.input_line])
        elif multirun:
            choices.append([f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()])
        else:
            problems.append(f"{override.input_line}: several values are a sweep; add -m")
    yield from map(list, itertools.product(*choices))


def _job(search: list[str], overrides: list[str], name: str) -> Config:
    try:
        settings = compose(name, overrides=search + overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(*(_diagnosed(search, overrides, name) or [_first_line(error)])) from error
    return check(resolved(settings))


def _diagnosed(search: list[str], overrides: list[str], name: str) -> list[str]:
    """Why Hydra could not compose: each misspelt group option and key; then what is wrong with all that is left."""
    problems: list[str] = []
    parser = OverridesParser.create()
    good: list[str] = []
    values: list[Override] = []
    for override in parser.parse_overrides(overrides):
        options = _options(override.key_or_group)
        if override.is_delete() or override.is_add() or not options:
            values.append(override)
        elif _is_option(override, options):
            good.append(override.input_line)
        else:
            given = shown(override.value())
            problems.append(f"{override.key_or_group}={given}: no such choice{nearest(str(given), options)}")
    try:
        base = compose(name, overrides=search + good, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        return [*problems, _first_line(error)]
    keys = [*_keys(base), *GlobalHydra.instance().config_loader().list_groups("")]
    for override in values:
        if override.is_add() or override.is_delete() or override.key_or_group in keys:
            try:
                compose(name, overrides=[*search, *good, override.input_line])
                good.append(override.input_line)
            except (HydraException, OmegaConfBaseException) as error:
                problems.append(f"{override.input_line}: {_first_line(error)}")
        else:
            problems.append(f"{override.key_or_group}: no such key{nearest(override.key_or_group, keys)}")
    if problems:
        try:
            _job(search, good, name)
        except ConfigError as error:
            problems += error.problems
    return problems


def _options(group: str) -> list[str]:
    return GlobalHydra.instance().config_loader().get_group_options(group)


def _is_option(override: Override, options: list[str]) -> bool:
    value = override.value()
    wanted = value if isinstance(value, list) else [value]
    return all(item is None or str(item) in options for item in wanted)


def _keys(settings: DictConfig, prefix: str = "") -> Iterator[str]:
    """Every key there is, those of groups included, as it is typed on the command line."""
    for key in settings:
        yield f"{prefix}{key}"
        node = settings._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            yield from _keys(node, f"{prefix}{key}.")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


# Building


def build(target: Target, **given: Any) -> Any:
    """What a target describes, with the arguments that the program adds.

    Raises:
        ConfigError: it was refused by its own constructor (ValueError).
    """
    module_name, _, name = target.path.rpartition(".")
    thing = getattr(importlib.import_module(module_name), name)
    try:
        return thing(**target.arguments, **given)
    except ValueError as error:
        raise ConfigError(f"{target.name}: {error}") from error


def plain(value: Any) -> Any:
    """Typed settings as they stand in YAML; `check(plain(config)) == config`."""
    if isinstance(value, Target):
        return {"name": value.name, "_target_": value.path, **plain(value.arguments)}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def foreign_targets(settings: Any, trusted: tuple[str, ...]) -> list[str]:
    """Import paths in settings from a file that lie outside the trusted packages: a stranger's run must not run code."""
    if isinstance(settings, dict):
        own = settings.get("_target_")
        found = [own] if isinstance(own, str) and own.split(".")[0] not in (*TRUSTED, *trusted) else []
        return found + [path for item in settings.values() for path in foreign_targets(item, trusted)]
    if isinstance(settings, list):
        return [path for item in settings for path in foreign_targets(item, trusted)]
    return []
