"""Hydra's plugins that a sweep can use: how each is installed, and which of its settings run no code."""

import importlib.util
import re
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.types import Override

from ssl_cli.errors import ConfigError

LAUNCHER, SWEEPER, SAMPLER = "hydra/launcher", "hydra/sweeper", "hydra/sweeper/sampler"
EXTRAS = {  # by choice: the extra of this package that brings it, and the module that it is in
    (LAUNCHER, "joblib"): ("joblib", "hydra_plugins.hydra_joblib_launcher"),
    (LAUNCHER, "ray"): ("ray", "hydra_plugins.hydra_ray_launcher"),
    (LAUNCHER, "submitit_local"): ("slurm", "hydra_plugins.hydra_submitit_launcher"),
    (LAUNCHER, "submitit_slurm"): ("slurm", "hydra_plugins.hydra_submitit_launcher"),
    (SWEEPER, "optuna"): ("optuna", "hydra_plugins.hydra_optuna_sweeper"),
}
# Sweepers that decide by the results so far what they try next, by choice: their classes.
SEARCHES = {"optuna": "OptunaSweeper"}
SAMPLERS = ("tpe", "random", "cmaes", "nsgaii", "grid")
# Settings of launchers whose values are names that Slurm takes. What is a number runs no code anyway.
NAMES = {f"hydra.launcher.{key}" for key in ("partition", "qos", "account", "constraint", "gres", "name")}


def check_installed(words: Iterable[Override]) -> None:
    """Raises ConfigError where a launcher or a sweeper is asked for whose plugin is not installed."""
    problems: list[str] = []
    for override in words:
        extra, module = EXTRAS.get((override.key_or_group, str(override.value())), ("", ""))
        if module and not is_there(module):
            problems.append(f"{override.input_line}: is not installed; pip install 'ssl-cli[{extra}]'")
    if problems:
        raise ConfigError(*problems)


def asks_for_search(override: Override) -> bool:
    """Whether a word chooses a sweeper that searches."""
    return override.key_or_group == SWEEPER and str(override.value()) in SEARCHES


def is_search(sweeper: Any) -> bool:
    """Whether Hydra's settings of a sweeper are those of one that searches."""
    return sweeper is not None and str(sweeper.get("_target_")).rpartition(".")[2] in SEARCHES.values()


def runs_no_code(override: Override) -> bool:
    """Whether a word that sets what Hydra does in a sweep can be trusted whoever wrote it: a known choice, a number, a name."""
    key, value = override.key_or_group, override.value()
    if override.package is not None or override.is_delete():
        return False
    if key in (LAUNCHER, SWEEPER):
        return value == "basic" or (key, value) in EXTRAS
    if key == SAMPLER:
        return value in SAMPLERS
    if key in NAMES:
        return isinstance(value, str) and re.fullmatch(r"[\w.:-]*", value) is not None
    if key == "hydra.sweeper.direction":
        return value == "maximize"
    return key.startswith(("hydra.launcher.", "hydra.sweeper.")) and (
        value is None or isinstance(value, (bool, int, float))
    )


def is_there(module: str) -> bool:
    """Whether a module is installed."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not one plugin of Hydra is installed
        return False
