"""The choices of a command line, which decide what files are composed: which can be, and a sentence for each that cannot."""

from collections.abc import Iterator
from typing import Any

from hydra import compose as hydra_compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli.config.typecheck import nearest, one_of, shown

GROUPS = ("stage", "dataset", "budget", "augment", "backbone", "head", "method", "schedule", "runtime", "experiment")
# What Hydra and OmegaConf end in where words cannot be carried out: their own errors, and Python's where they did not look.
CANNOT = (HydraException, OmegaConfBaseException, ValueError, TypeError, AttributeError, AssertionError)


def sort_out(choices: list[Override], name: str) -> tuple[list[str], list[str]]:
    """The choices that can be composed, and a sentence for each that cannot. What goes into another one comes behind it."""
    good: list[str] = []
    problems: list[str] = []
    for override in sorted(choices, key=lambda one: (one.package is not None, one.key_or_group.startswith("hydra."))):
        options = options_of(override.key_or_group)
        if not override.is_delete() and options and not _is_option(override, options):
            given = shown(override.value())
            problems.append(f"{_typed_key(override)}={given}: no such choice{nearest(str(given), options)}")
            continue
        try:
            hydra_compose(name, overrides=[*good, typed_text(override)])
            good.append(typed_text(override))
        except CANNOT as error:
            problems.append(_not_composed(override, name, good, error))
    return good, problems


def _not_composed(override: Override, name: str, good: list[str], error: Exception) -> str:
    """Why a choice, or a setting of Hydra, cannot be composed; `good` are choices that can be."""
    key = _typed_key(override)
    if override.is_add() and "Multiple values" in str(error):
        return f"{override.input_line}: there is one already; {key}={override.value()} replaces it"
    if key.split(".")[0] != "hydra":
        return f"{override.input_line}: {first_line(error)}"
    keys = [f"hydra.{key}" for key in keys_in(hydra_compose(name, overrides=good, return_hydra_config=True).hydra)]
    if key in keys:
        return f"{override.input_line}: is none of the values that Hydra takes there"
    return f"{key}: no such key{nearest(key, keys)}"


def wrong_choice(override: Override) -> str | None:
    """Why a group's value names no choice, where Hydra would end in a traceback or take several for one; else None."""
    options = options_of(override.key_or_group)
    value = override.value()
    if override.is_delete() or not options or isinstance(value, str):
        return None
    if value is None or isinstance(value, (list, dict)) or override.key_or_group not in GROUPS:
        return f"{_typed_key(override)}={_shown_value(value)}: must be {one_of(options)}; left out, it is what it is otherwise"
    return None


def _typed_key(override: Override) -> str:
    return override.key_or_group if override.package is None else f"{override.key_or_group}@{override.package}"


def _shown_value(value: Any) -> str:
    return shown(value).replace("'", "").replace(" ", "")


def options_of(group: str) -> list[str]:
    """The choices of a group; none where it is no group."""
    return GlobalHydra.instance().config_loader().get_group_options(group)


def _is_option(override: Override, options: list[str]) -> bool:
    value = override.value()
    wanted = value if isinstance(value, list) else [value]
    return all(item is None or str(item) in options for item in wanted)


def keys_in(settings: DictConfig, prefix: str = "") -> Iterator[str]:
    """Every key there is, those of groups included, as it is typed on the command line."""
    for key in map(str, settings):
        yield f"{prefix}{key}"
        inside = settings_inside(settings, key)
        if inside is not None:
            yield from keys_in(inside, f"{prefix}{key}.")


def settings_inside(settings: DictConfig, key: str) -> DictConfig | None:
    """The settings that stand under a key, if these are written there and not referred to."""
    if OmegaConf.is_missing(settings, key) or OmegaConf.is_interpolation(settings, key):
        return None
    return value if isinstance(value := settings[key], DictConfig) else None


def first_line(error: Exception) -> str:
    """Of what an error says."""
    return str(error).strip().split("\n")[0]


def typed_text(override: Override) -> str:
    """An override as it was typed."""
    return override.input_line or ""
