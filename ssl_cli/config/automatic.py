"""Settings that are chosen once the data can be read: which are open, and how what is chosen takes its place among the others."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from ssl_cli.config.choices import GROUPS
from ssl_cli.config.consistency import AUTO
from ssl_cli.config.schema import Config
from ssl_cli.config.trust import settings_folder

OPEN = ("augment", "backbone", "schedule")  # groups with a choice `auto`


def is_open(config: Config) -> bool:
    """Whether settings are left to be chosen: those of a group, or the steps that take `schedule.minutes`."""
    return bool(open_groups(config)) or config.schedule.minutes is not None


def open_groups(config: Config) -> list[str]:
    """The groups whose choice is `auto`."""
    return [group for group in OPEN if getattr(config, group).name == AUTO]


def typed_keys(words: Iterable[str]) -> set[str]:
    """The keys that words of a command line set; of values in braces those inside."""
    found: set[str] = set()
    for override in OverridesParser.create().parse_overrides(list(words)):
        value = override.value()
        if override.key_or_group in GROUPS and not isinstance(value, dict):
            continue  # a choice
        found.update(key for key, _ in leaves(value, override.key_or_group))
    return found


def keeper(settings: DictConfig, words: Iterable[str]) -> Callable[[str], bool]:
    """Tells of a key whether its value stays, whatever is chosen.

    Args:
        settings: as Hydra composed them, with `auto` among their choices.
        words: of the command line. What they set stays, even where it is the value that `auto` has itself; what an experiment
            or a data set has changed stays too, and so does what is not there.
    """
    usual = {key: value for group in OPEN for key, value in _all_values_of(group, AUTO).items()}
    typed = typed_keys(words)
    missing = object()

    def keeps(key: str) -> bool:
        if any(f"{key}.".startswith(f"{one}.") or one.startswith(f"{key}.") for one in typed):
            return True
        there = OmegaConf.select(settings, key, default=missing)
        if isinstance(there, DictConfig):  # a group as a whole
            inside = {one: value for one, value in usual.items() if one.startswith(f"{key}.")}
            return dict(leaves(OmegaConf.to_container(there), key)) != inside
        return there is missing or there != usual.get(key)

    return keeps


def with_values(settings: DictConfig, values: Mapping[str, Any]) -> DictConfig:
    """The settings with these values in place of those that were there."""
    result = settings.copy()
    OmegaConf.set_struct(result, False)
    for key, value in values.items():
        OmegaConf.update(result, key, value, merge=False)
    return result


def values_of(group: str, choice: str) -> dict[str, Any]:
    """What the file of a choice sets beyond the one that it is based on, by key; its name too."""
    values = dict(leaves(_written(group, choice), group))
    values.pop(f"{group}.defaults", None)
    return values


def _all_values_of(group: str, choice: str) -> dict[str, Any]:
    bases = [base for base in _written(group, choice).get("defaults", ()) if base != "_self_"]
    values: dict[str, Any] = {}
    for base in bases:
        values |= _all_values_of(group, base)
    return values | values_of(group, choice)


def _written(group: str, choice: str) -> dict[str, Any]:
    return yaml.safe_load((settings_folder() / group / f"{choice}.yaml").read_text(encoding="utf-8"))


def leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Settings inside settings, by key."""
    if isinstance(value, dict) and value:
        for name, inside in cast(dict[str, Any], value).items():
            yield from leaves(inside, f"{key}.{name}")
    else:
        yield key, value


def is_saved(folder: Path) -> bool:
    """Whether a folder has the settings of a run, in which all is chosen already."""
    return (folder / "config.yaml").is_file()
