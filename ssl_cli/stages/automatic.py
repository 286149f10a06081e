"""What `auto` and `schedule.minutes` stand for, decided once the data can be read and before the run starts."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from ssl_cli.config import automatic
from ssl_cli.config.compose import check, from_overrides, resolved
from ssl_cli.config.consistency import AUTO, phase_of_minutes
from ssl_cli.config.overrides import NAME, composed_with, reading
from ssl_cli.config.schema import Config
from ssl_cli.config.typecheck import Allowed, anything
from ssl_cli.data.dataset import facts_of, load
from ssl_cli.data.types import Dataset, Rows, as_rows
from ssl_cli.errors import ConfigError
from ssl_cli.runs.saved import saved_settings
from ssl_cli.stages.automatic_network import chosen_network
from ssl_cli.stages.automatic_schedule import chosen_schedule, described_schedule
from ssl_cli.stages.automatic_views import chosen_views
from ssl_cli.stages.fit import check_fit
from ssl_cli.stages.speed import steps_in

log = logging.getLogger("ssl_cli")


def settings_for(*words: str) -> Config:
    """The settings of a command line without a sweep, nothing left open, for use from Python.

    Raises:
        ConfigError: with every problem there is; the data are read where something has to be chosen by them.
    """
    config = from_overrides(*words)
    if not automatic.is_open(config):
        return config
    with reading(None):
        settings, _, _ = composed_with(list(words), NAME)
    return settled(config, settings, words)


def settled(
    config: Config, settings: DictConfig, words: Sequence[str], folder: Path | None = None, allowed: Allowed = anything
) -> Config:
    """The settings of a run with all that is left open chosen: views, network, schedule, the steps that take `schedule.minutes`.

    Args:
        config, settings: typed, and as Hydra composed them, interpolations not carried out.
        words: of the command line; what they set stays.
        folder: of the run. One that was begun there goes on with what was chosen for it.
        allowed: which components the settings may name.

    Raises:
        ConfigError: the data cannot be read, or do not fit.
    """
    if not automatic.is_open(config):
        return config
    if folder is not None and automatic.is_saved(folder):
        saved = saved_settings(f"hydra.run.dir={folder}", folder)
        return replace(config, augment=saved.augment, backbone=saved.backbone, schedule=saved.schedule)
    dataset = load(config.dataset)
    keeps = automatic.keeper(settings, words)
    values, wishes, lines = _chosen(config, dataset, keeps)
    try:
        settings, decided = _with_values(settings, {**values, **wishes}, keeps, dataset, allowed)
    except ConfigError:
        if not wishes:
            raise
        settings, decided = _with_values(settings, values, keeps, dataset, allowed)
    if config.schedule.name == AUTO:
        lines.append(described_schedule(decided, facts_of(dataset)))
    for line in lines:
        log.info("%s", line)
    return _timed(decided, dataset, settings, words, allowed)


def _chosen(
    config: Config, dataset: Dataset, keeps: Callable[[str], bool]
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """What open groups stand for, by key; settings that are left out where a method refuses them; a line for each choice."""
    values: dict[str, Any] = {}
    wishes: dict[str, Any] = {}
    lines: list[str] = []
    if config.augment.name == AUTO:
        chosen, line = chosen_views(_images(dataset, "augment"))
        values |= chosen
        lines.append(line)
    if config.backbone.name == AUTO:
        named = AUTO if keeps("backbone") else config.checkpoint
        network, smaller, line = chosen_network(_images(dataset, "backbone"), named)
        values |= network
        wishes = smaller if config.augment.name == AUTO else {}
        lines.append(line)
    if config.schedule.name == AUTO:
        values |= chosen_schedule(config, facts_of(dataset), keeps)
    return values, wishes, lines


def _with_values(
    settings: DictConfig, values: dict[str, Any], keeps: Callable[[str], bool], dataset: Dataset, allowed: Allowed
) -> tuple[DictConfig, Config]:
    """The settings with these values where nothing else was asked for, and typed; raises ConfigError where they do not fit."""
    settings = automatic.with_values(settings, {key: value for key, value in values.items() if not keeps(key)})
    decided = check(resolved(settings), allowed)
    check_fit(decided, dataset)
    return settings, decided


def _timed(config: Config, dataset: Dataset, settings: DictConfig, words: Sequence[str], allowed: Allowed) -> Config:
    """The settings with the steps that take `schedule.minutes` in place of it."""
    minutes, phase = config.schedule.minutes, phase_of_minutes(config)
    if minutes is None or phase is None:
        return config
    if f"schedule.{phase}.epochs" in automatic.typed_keys(words):
        raise ConfigError(
            f"schedule.minutes={minutes:g}: schedule.{phase}.epochs={getattr(config.schedule, phase).epochs} says too how "
            "long it takes; give one of the two"
        )
    steps = steps_in(minutes, phase, config, dataset)
    key = f"schedule.{phase}"
    values: dict[str, Any] = {"schedule.minutes": None, f"{key}.max_steps": steps, f"{key}.epochs": steps}
    return check(resolved(automatic.with_values(settings, values)), allowed)


def _images(dataset: Dataset, group: Literal["augment", "backbone"]) -> Rows:
    """Raises ConfigError where there are none."""
    if dataset.vocabulary is not None:
        instead = {"augment": "text or whole_text", "backbone": "bag or transformer"}[group]
        raise ConfigError(
            f"{group}=auto: is chosen for images, and dataset={dataset.name} has texts; take {group}={instead}"
        )
    return as_rows(dataset.train.inputs)
