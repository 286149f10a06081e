"""From the command line to one checked, typed config, and from a part of it to the thing it describes.

The only module that knows OmegaConf. Everything wrong is found at once, before torch is imported or data is read.
"""

import contextlib
import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli.config.consistency import contradictions
from ssl_cli.config.schema import Config
from ssl_cli.config.trust import settings_folder
from ssl_cli.config.typecheck import Allowed, anything, nearest, one_of, shown, typed
from ssl_cli.errors import ConfigError

NAME = "config"  # conf/config.yaml
# What Hydra and OmegaConf end in where words cannot be carried out: their own errors, and Python's where they did not look.
CANNOT = (HydraException, OmegaConfBaseException, ValueError, TypeError, AttributeError, AssertionError)
GROUPS = ("stage", "dataset", "budget", "augment", "backbone", "head", "method", "schedule", "runtime", "experiment")


def check(settings: dict[str, Any], allowed: Allowed = anything) -> Config:
    """The typed config that plain settings describe.

    Args:
        settings: as they stand in YAML.
        allowed: which components they may name; `trust.from_a_file` for settings that nobody typed just now.

    Raises:
        ConfigError: with every problem there is.
    """
    problems: list[str] = []
    config = typed(settings, Config, "", problems, allowed)
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
        return cast(dict[str, Any], OmegaConf.to_container(settings, resolve=True, throw_on_missing=True))
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise ConfigError(f"{key}: {_first_line(error)}" if key else _first_line(error)) from error


# The command line


def from_overrides(*overrides: str) -> Config:
    """The config of a command line without a sweep, for use from Python.

    Raises:
        ConfigError: with every problem there is.
    """
    (config,) = precheck(overrides, multirun=False)
    return config


def precheck(
    overrides: Sequence[str],
    multirun: bool,
    extra_folder: str | None = None,
    name: str | None = None,
    allowed: Allowed = anything,
) -> list[Config]:
    """The configs of a command line, one for each job of a sweep, before Hydra makes a folder.

    Args:
        overrides, multirun, extra_folder, name: of the command line.
        allowed: which components it may name.

    Raises:
        ConfigError: with every problem there is in any of them.
    """
    problems: list[str] = []
    configs: list[Config] = []
    with _reading(extra_folder):
        parsed = [override for text in overrides if (override := _parsed(text, problems)) is not None]
        for job in _jobs(parsed, multirun, problems):
            try:
                configs.append(_job(job, name or NAME, allowed))
            except ConfigError as error:
                problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise ConfigError(*problems)
    return configs


def folder_of(
    kind: str, overrides: Sequence[str], extra_folder: str | None = None, name: str | None = None
) -> tuple[str, Path]:
    """Where a run with these overrides writes, or a sweep puts its jobs, and the key that says so.

    Args:
        kind: `run` or `sweep`.
        overrides, extra_folder, name: of the command line.

    Raises:
        ConfigError: `hydra.run.dir` or `hydra.sweep.dir` is not a path.
    """
    with _reading(extra_folder):
        problems: list[str] = []
        parsed = [override for text in overrides if (override := _parsed(text, problems)) is not None]
        first = next(_jobs(parsed, multirun=True, problems=problems))
        composed = compose(name or NAME, overrides=first, return_hydra_config=True)
        asked = composed.hydra[kind].dir
    key = f"hydra.{kind}.dir"
    if not isinstance(asked, str) or not asked.strip():
        raise ConfigError(f"{key}={shown(asked)}: must be a path")
    own = any(override.key_or_group == key for override in parsed)
    return (key if own else "outputs"), Path(asked).absolute()


def _parsed(text: str, problems: list[str]) -> Override | None:
    if not text.partition("=")[0].strip("+~ "):
        problems.append(f"{text or repr(text)}: names no key; must be key=value")
        return None
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
            choices.append([_typed_text(override)])
        elif multirun:
            choices.append([f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()])
        else:
            problems.append(f"{override.input_line}: several values are a sweep; add -m")
    yield from map(list, itertools.product(*choices))


def _job(overrides: list[str], name: str, allowed: Allowed) -> Config:
    """Compose once, then set each value by itself, so that each mistake shows by itself."""
    settings, problems, in_place = _composed(overrides, name)
    config: Config | None = None
    try:
        config = check(resolved(settings), allowed)
    except ConfigError as error:
        problems += error.problems
    problems += [sentence for key, sentence in in_place if not any(p.startswith(key) for p in problems)]
    if problems or config is None:
        raise ConfigError(*problems)
    return config


def _typed_text(override: Override) -> str:
    """An override as it was typed."""
    return override.input_line or ""


def _composed(overrides: list[str], name: str) -> tuple[DictConfig, list[str], list[tuple[str, str]]]:
    """The settings with all overrides that can be carried out, and a sentence for each that cannot.

    A value of the wrong form stands in them in place of what was there, so that the types say what is allowed. Keys of
    such come last, each with the sentence that is due where the types have none.

    Raises:
        ConfigError: nothing can be composed at all.
    """
    groups = GlobalHydra.instance().config_loader().list_groups("")
    parsed = OverridesParser.create().parse_overrides(overrides)
    wrong = {id(override): problem for override in parsed if (problem := _wrong_choice(override))}
    problems = list(wrong.values())
    choices = [override for override in parsed if _is_choice(override, groups) and id(override) not in wrong]
    values = [override for override in parsed if not _is_choice(override, groups)]
    try:
        settings = compose(name, overrides=list(map(_typed_text, choices)))
    except CANNOT as error:
        good, others = _sorted_out(choices, name)
        problems += others
        if not problems:
            raise ConfigError(_first_line(error)) from error
        settings = compose(name, overrides=good)
    keys = [*_keys(settings), *groups]
    in_place: list[tuple[str, str]] = []
    for override in values:
        problem = _set(settings, override, keys)
        if problem and _put(settings, override, keys):
            in_place.append((override.key_or_group, problem))
        elif problem:
            problems.append(problem)
    return settings, problems, in_place


def _set(settings: DictConfig, override: Override, keys: list[str]) -> str | None:
    """Carry out one override that sets a value; why that cannot be, or None."""
    key, plain = override.key_or_group, not (override.is_add() or override.is_delete() or override.is_force_add())
    if plain and override.value() == {} and OmegaConf.select(settings, key):
        return f"{override.input_line}: sets nothing, since what is in braces is added to what is there; ~{key}.NAME takes out"
    inside = key.rpartition(".")[0] in keys and not OmegaConf.is_config(
        OmegaConf.select(settings, key.rpartition(".")[0])
    )
    if inside and key not in keys and not override.is_delete():  # tried, it would replace what it is inside of
        return f"{key}: no such key{nearest(key, keys)}"
    try:
        # Hydra has no public way to carry out one override of composed settings.
        ConfigLoaderImpl._apply_overrides_to_config([override], settings)  # pyright: ignore[reportPrivateUsage]
        return None
    except CANNOT as error:
        if plain and key not in keys:
            return f"{key}: no such key{nearest(key, keys)}"
        if plain and isinstance(override.value(), dict):
            return f"{override.input_line}: names what is not there; to add it, type +{override.input_line}"
        return f"{override.input_line}: {_first_line(error)}"


def _put(settings: DictConfig, override: Override, keys: list[str]) -> bool:
    """Put a value where Hydra would not; whether there is such a place."""
    key, value = override.key_or_group, override.value()
    if key not in keys or override.is_add() or override.is_delete() or override.is_force_add() or value == {}:
        return False
    try:
        OmegaConf.update(settings, key, value, merge=isinstance(value, dict), force_add=True)
    except CANNOT:
        return False
    return True


def _is_choice(override: Override, groups: list[str]) -> bool:
    """Whether it decides which files are composed; all else sets a value in what they give."""
    key = override.key_or_group
    return key in groups or "/" in key or override.package is not None or key.split(".")[0] == "hydra"


def _sorted_out(choices: list[Override], name: str) -> tuple[list[str], list[str]]:
    """The choices that can be composed, and a sentence for each that cannot. What goes into another one comes behind it."""
    good: list[str] = []
    problems: list[str] = []
    for override in sorted(choices, key=lambda override: override.package is not None):
        options = _options(override.key_or_group)
        if not override.is_delete() and options and not _is_option(override, options):
            given = shown(override.value())
            problems.append(f"{_typed_key(override)}={given}: no such choice{nearest(str(given), options)}")
            continue
        try:
            compose(name, overrides=[*good, _typed_text(override)])
            good.append(_typed_text(override))
        except CANNOT as error:
            problems.append(_not_composed(override, name, error))
    return good, problems


def _not_composed(override: Override, name: str, error: Exception) -> str:
    """Why a choice, or a setting of Hydra, cannot be composed."""
    key = _typed_key(override)
    if override.is_add() and "Multiple values" in str(error):
        return f"{override.input_line}: there is one already; {key}={override.value()} replaces it"
    if key.split(".")[0] != "hydra":
        return f"{override.input_line}: {_first_line(error)}"
    keys = [f"hydra.{key}" for key in _keys(compose(name, return_hydra_config=True).hydra)]
    if key in keys:
        return f"{override.input_line}: is none of the values that Hydra takes there"
    return f"{key}: no such key{nearest(key, keys)}"


def _wrong_choice(override: Override) -> str | None:
    """Why a group's value names no choice, where Hydra would end in a traceback or take several for one; else None."""
    options = _options(override.key_or_group)
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


def _options(group: str) -> list[str]:
    return GlobalHydra.instance().config_loader().get_group_options(group)


def _is_option(override: Override, options: list[str]) -> bool:
    value = override.value()
    wanted = value if isinstance(value, list) else [value]
    return all(item is None or str(item) in options for item in wanted)


def _keys(settings: DictConfig, prefix: str = "") -> Iterator[str]:
    """Every key there is, those of groups included, as it is typed on the command line."""
    for key in map(str, settings):
        yield f"{prefix}{key}"
        inside = _inside(settings, key)
        if inside is not None:
            yield from _keys(inside, f"{prefix}{key}.")


def _inside(settings: DictConfig, key: str) -> DictConfig | None:
    """The settings that stand under a key, if these are written there and not referred to."""
    if OmegaConf.is_missing(settings, key) or OmegaConf.is_interpolation(settings, key):
        return None
    return value if isinstance(value := settings[key], DictConfig) else None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


@dataclass(frozen=True)
class Group:
    """A group of the command line: its choices, the default among them, and the folders that its files are in."""

    name: str
    choices: tuple[str, ...]
    default: str | None
    folders: tuple[Path, ...]


def groups(extra_folder: str | None = None) -> dict[str, Group]:
    """All groups in the order of the help; those in a folder of the user's own too."""
    roots = [settings_folder(), *([Path(extra_folder).absolute()] if extra_folder else [])]
    defaults = yaml.safe_load((settings_folder() / f"{NAME}.yaml").read_text(encoding="utf-8"))["defaults"]
    first: dict[str, str | None] = {}
    for entry in defaults:
        first |= entry if isinstance(entry, dict) else {}
    return {
        name: Group(
            name,
            tuple(sorted({path.stem for root in roots for path in (root / name).glob("*.yaml")})),
            first.get(name),
            tuple(root / name for root in roots),
        )
        for name in GROUPS
    }


def settings_of_choice(
    group: Group, choice: str, overrides: Sequence[str], extra_folder: str | None = None
) -> Iterator[tuple[str, str]]:
    """The settings of a group's choice as these overrides leave them: keys and values as they are typed.

    Raises:
        ConfigError: an override cannot be carried out.
    """
    with _reading(extra_folder):
        composed, problems, in_place = _composed(list(overrides), NAME)
        if problems or in_place:
            raise ConfigError(*problems, *(sentence for _, sentence in in_place))
        if group.name == "experiment":
            plain, *_ = _composed([word for word in overrides if not word.startswith("experiment=")], NAME)
            usual = dict(_leaves(plain, ""))
            return iter([(key, value) for key, value in _leaves(composed, "") if usual.get(key) != value])
        return iter(list(_leaves(composed[group.name], f"{group.name}.")))


def _leaves(node: DictConfig, prefix: str) -> Iterator[tuple[str, str]]:
    plain = cast(dict[str, Any], OmegaConf.to_container(node, resolve=False))
    for key, value in plain.items():
        inside = _inside(node, key)
        if inside:
            yield from _leaves(inside, f"{prefix}{key}.")
        elif key not in ("_target_", "name"):
            yield f"{prefix}{key}", shown(value).replace(" ", "")


@contextlib.contextmanager
def _reading(extra_folder: str | None) -> Generator[None]:
    """Meanwhile Hydra reads the settings of this program, and behind them those in a folder of the user's own."""
    with initialize_config_dir(str(settings_folder()), version_base="1.3"):
        if extra_folder:
            search_path = create_config_search_path(str(settings_folder()))
            own = f"file://{Path(extra_folder).absolute()}"
            search_path.prepend("command-line", own, SearchPathQuery(provider="schema"))  # where `--config-dir` puts it
            GlobalHydra.instance().clear()
            Hydra.create_main_hydra2("app", search_path)
        yield
