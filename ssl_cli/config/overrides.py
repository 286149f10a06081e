"""Words of the command line carried out on the settings in `conf/`, each by itself, so that each mistake shows by itself."""

import contextlib
import copy
import itertools
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from ssl_cli.config.choices import CANNOT, first_line, keys_in, options_of, sort_out, typed_text, wrong_choice
from ssl_cli.config.plugins import asks_for_search
from ssl_cli.config.trust import settings_folder
from ssl_cli.config.typecheck import nearest
from ssl_cli.errors import ConfigError

NAME = "config"  # conf/config.yaml


@contextlib.contextmanager
def reading(extra_folder: str | None) -> Generator[None]:
    """Meanwhile Hydra reads the settings of this program, and behind them those in a folder of the user's own.

    A Hydra that is at work, as while a stage is carried out, is put aside and goes on afterwards.
    """
    at_work = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(settings_folder()), version_base="1.3"):
            if extra_folder:
                search_path = create_config_search_path(str(settings_folder()))
                own = f"file://{Path(extra_folder).absolute()}"
                # where `--config-dir` puts it
                search_path.prepend("command-line", own, SearchPathQuery(provider="schema"))
                GlobalHydra.instance().clear()
                Hydra.create_main_hydra2("app", search_path)
            _chosen.cache_clear()
            _groups.cache_clear()
            yield
    finally:
        GlobalHydra.instance().hydra = at_work
        _chosen.cache_clear()
        _groups.cache_clear()


def key_of(word: str) -> str:
    """What a word of the command line sets, adds or takes out."""
    return word.partition("=")[0].lstrip("+~")


def parsed_override(text: str, problems: list[str]) -> Override | None:
    """A word as Hydra reads it; None, and a sentence among the problems, where it cannot."""
    if not text.partition("=")[0].strip("+~ "):
        problems.append(f"{text or repr(text)}: names no key; must be key=value")
        return None
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException as error:
        stages = options_of("stage")
        if "=" not in text and not text.startswith(("+", "~")):
            problems.append(f"{text}: is neither a stage nor key=value{nearest(text, stages)}")
        else:
            problems.append(f"{text}: cannot be read ({first_line(error)})")
        return None


def jobs(overrides: list[Override], multirun: bool, problems: list[str]) -> Iterator[list[str]]:
    """The overrides of each job: one, or every combination of a sweep's values.

    A search decides on the way which combinations it tries: of it, jobs with each value of each setting, the others at their
    first one.
    """
    choices: list[list[str]] = []
    search = any(asks_for_search(override) for override in overrides)
    for override in overrides:
        if not override.is_sweep_override():
            choices.append([typed_text(override)])
        elif not multirun:
            problems.append(f"{override.input_line}: several values are a sweep; add -m")
        elif override.is_discrete_sweep() or search:
            choices.append([f"{override.get_key_element()}={value}" for value in _values(override)])
        else:
            problems.append(
                f"{override.input_line}: an interval is for a search; add hydra/sweeper=optuna, or list the values"
            )
    if search:
        yield [values[0] for values in choices]
        for place, values in enumerate(choices):
            for value in values[1:]:
                yield [value if here == place else others[0] for here, others in enumerate(choices)]
    else:
        yield from map(list, itertools.product(*choices))


def _values(override: Override) -> list[str]:
    """The values of a setting in a sweep; of an interval its ends."""
    if override.is_discrete_sweep():
        return list(override.sweep_string_iterator())
    interval = override.value()
    return [] if not isinstance(interval, IntervalSweep) else [str(interval.start), str(interval.end)]


def composed_with(overrides: list[str], name: str) -> tuple[DictConfig, list[str], list[tuple[str, str]]]:
    """The settings with all overrides that can be carried out, and a sentence for each that cannot.

    A value of the wrong form stands in them in place of what was there, so that the types say what is allowed. Keys of
    such come last, each with the sentence that is due where the types have none.

    Raises:
        ConfigError: nothing can be composed at all.
    """
    groups = _groups()
    parsed = OverridesParser.create().parse_overrides(overrides)
    wrong = {id(override): problem for override in parsed if (problem := wrong_choice(override))}
    problems = list(wrong.values())
    choices = [override for override in parsed if _is_choice(override, groups) and id(override) not in wrong]
    values = [override for override in parsed if not _is_choice(override, groups)]
    try:
        settings, keys = _chosen(name, tuple(map(typed_text, choices)))
    except CANNOT as error:
        good, others = sort_out(choices, name)
        problems += others
        if not problems:
            raise ConfigError(first_line(error)) from error
        settings, keys = _chosen(name, tuple(good))
    settings = copy.deepcopy(settings)
    in_place: list[tuple[str, str]] = []
    for override in values:
        problem = _set(settings, override, keys)
        if problem and _put(settings, override, keys):
            in_place.append((override.key_or_group, problem))
        elif problem:
            problems.append(problem)
    return settings, problems, in_place


@cache
def _chosen(name: str, choices: tuple[str, ...]) -> tuple[DictConfig, list[str]]:
    """The settings with choices alone, and all keys there are: many jobs of a sweep have the same, and composing takes long."""
    settings = hydra_compose(name, overrides=list(choices))
    return settings, [*keys_in(settings), *_groups()]


@cache
def _groups() -> list[str]:
    return GlobalHydra.instance().config_loader().list_groups("")


def hydra_settings(overrides: list[str], name: str) -> tuple[DictConfig, list[Override]]:
    """Hydra's own settings with the overrides of a job, and those of the overrides that are of Hydra."""
    groups = _groups()
    parsed = OverridesParser.create().parse_overrides(overrides)
    choices = [typed_text(override) for override in parsed if _is_choice(override, groups)]
    composed = hydra_compose(name, overrides=choices, return_hydra_config=True)
    return composed.hydra, [override for override in parsed if is_of_hydra(override)]


def is_of_hydra(override: Override) -> bool:
    """Whether it sets what Hydra does, and nothing of a run."""
    return override.key_or_group.replace("/", ".").split(".")[0] == "hydra"


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
        return f"{override.input_line}: {first_line(error)}"


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
    return key in groups or "/" in key or override.package is not None or is_of_hydra(override)
