"""From the command line to one checked, typed config.

Everything wrong with the form of settings is found at once, before torch is imported or data is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli.config.choices import CANNOT, first_line
from ssl_cli.config.consistency import contradictions
from ssl_cli.config.hydra_settings import hydra_problems
from ssl_cli.config.overrides import (
    NAME,
    composed_with,
    hydra_settings,
    is_of_hydra,
    jobs,
    key_of,
    parsed_override,
    reading,
)
from ssl_cli.config.plugins import check_installed
from ssl_cli.config.schema import Config, Stage
from ssl_cli.config.typecheck import Allowed, anything, shown, typed
from ssl_cli.errors import ConfigError


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
        raise ConfigError(f"{key}: {first_line(error)}" if key else first_line(error)) from error


# The command line


def from_overrides(*overrides: str) -> Config:
    """The config of a command line without a sweep, for use from Python.

    Raises:
        ConfigError: with every problem there is.
    """
    (config,) = precheck(overrides, multirun=False)
    return config


@dataclass(frozen=True)
class Composed:
    """One job of a command line: its words, and the settings that they make."""

    words: tuple[str, ...]
    config: Config


def precheck(
    overrides: Sequence[str],
    multirun: bool,
    extra_folder: str | None = None,
    name: str | None = None,
    allowed: Allowed = anything,
) -> list[Config]:
    """The configs of a command line, one for each job of a sweep, before Hydra makes a folder; see `composed_jobs`."""
    return [job.config for job in composed_jobs(overrides, multirun, extra_folder, name, allowed)]


def composed_jobs(
    overrides: Sequence[str],
    multirun: bool,
    extra_folder: str | None = None,
    name: str | None = None,
    allowed: Allowed = anything,
) -> list[Composed]:
    """What a command line asks for, job by job, before Hydra makes a folder.

    Args:
        overrides, multirun, extra_folder, name: of the command line; of a sweep, with those that its settings bring.
        allowed: which components it may name.

    Raises:
        ConfigError: with every problem there is in any of them.
    """
    problems: list[str] = []
    found: list[Composed] = []
    with reading(extra_folder):
        parsed = [override for text in overrides if (override := parsed_override(text, problems)) is not None]
        check_installed(parsed)
        asks_hydra = bool(extra_folder or name) or any(is_of_hydra(override) for override in parsed)
        for job in jobs(parsed, multirun, problems):
            try:
                found.append(Composed(tuple(job), _job(job, name or NAME, allowed)))
            except ConfigError as error:
                problems += [problem for problem in error.problems if problem not in problems]
            if asks_hydra:
                problems += [problem for problem in _of_hydra(job, name or NAME, multirun) if problem not in problems]
    if problems:
        raise ConfigError(*problems)
    return found


def sweep_settings(overrides: Sequence[str], extra_folder: str | None = None, name: str | None = None) -> DictConfig:
    """What Hydra records of a sweep: all settings with Hydra's own, as they are before any of them is varied.

    Raises:
        ConfigError: they cannot be composed; `composed_jobs` says all that is wrong with them.
    """
    words = [*overrides, "hydra.mode=MULTIRUN"]
    with reading(extra_folder):
        try:
            hydra = cast(Hydra, GlobalHydra.instance().hydra)
            return hydra.compose_config(config_name=name or NAME, overrides=words, run_mode=RunMode.MULTIRUN)
        except CANNOT as error:
            raise ConfigError(first_line(error)) from error


def check_is_one_run(overrides: Sequence[str], extra_folder: str | None = None, name: str | None = None) -> None:
    """Raises ConfigError where an experiment is a sweep, of which a single run would be something else."""
    chosen = [word for word in overrides if key_of(word) == "experiment"]
    if chosen and sweep_settings(overrides, extra_folder, name).hydra.sweeper.params:
        raise ConfigError(f"{chosen[-1]}: is a sweep; add -m")


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
    key = f"hydra.{kind}.dir"
    asked = OmegaConf.select(hydra_of(overrides, extra_folder, name), f"{kind}.dir")
    if not isinstance(asked, str) or not asked.strip():
        raise ConfigError(f"{key}={shown(asked)}: must be a path")
    own = any(key_of(word) == key for word in overrides)
    return (key if own else "outputs"), Path(asked).absolute()


def hydra_of(overrides: Sequence[str], extra_folder: str | None = None, name: str | None = None) -> DictConfig:
    """Hydra's own settings for the first job of a command line that can be composed; arguments as of `folder_of`."""
    with reading(extra_folder):
        problems: list[str] = []
        parsed = [override for text in overrides if (override := parsed_override(text, problems)) is not None]
        first = next(jobs(parsed, multirun=True, problems=problems))
        return hydra_compose(name or NAME, overrides=first, return_hydra_config=True).hydra


def _of_hydra(overrides: list[str], name: str, multirun: bool) -> list[str]:
    """What is wrong with Hydra's own settings for a job; nothing where they cannot be composed, which `_job` says."""
    try:
        hydra, typed = hydra_settings(overrides, name)
    except CANNOT:
        return []
    return list(hydra_problems(hydra, typed, multirun))


def _job(overrides: list[str], name: str, allowed: Allowed) -> Config:
    """Compose once, then set each value by itself, so that each mistake shows by itself."""
    settings, problems, in_place = composed_with(overrides, name)
    config: Config | None = None
    try:
        values = resolved(settings)
        stage = typed(values.get("stage"), Stage, "stage", [], allowed)
        if isinstance(stage, Stage) and (ignored := _overrides_without_effect(overrides, stage)):
            raise ConfigError(ignored)  # alone, since whatever else is wrong with them does not matter
        config = check(values, allowed)
    except ConfigError as error:
        problems += error.problems
    problems += [sentence for key, sentence in in_place if not any(p.startswith(key) for p in problems)]
    if problems or config is None:
        raise ConfigError(*problems)
    return config


def _overrides_without_effect(overrides: list[str], stage: Stage) -> str | None:
    """A sentence on what was typed for a stage that does not take it; None where there is nothing."""
    if not stage.takes:
        return None
    ignored = [word for word in overrides if _first_key(word) not in (*stage.takes, "stage", "hydra")]
    if not ignored:
        return None
    return (
        f"{', '.join(ignored)}: stage={stage.name} {stage.instead}; leave {'it' if len(ignored) == 1 else 'them'} out"
    )


def _first_key(word: str) -> str:
    """The first part of where a word has its effect; of `dataset@stage.other` that is `stage`."""
    return key_of(word).rpartition("@")[2].replace("/", ".").partition(".")[0]
