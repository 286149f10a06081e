"""Going on with a run or a sweep from its folder, which may be a stranger's: it runs no code that is not trusted."""

import os
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ssl_cli.config import plugins, trust
from ssl_cli.config.overrides import key_of
from ssl_cli.config.schema import Config
from ssl_cli.config.words import for_hydra
from ssl_cli.errors import ConfigError
from ssl_cli.runs.reading import DamagedError, read_yaml
from ssl_cli.runs.saved import saved_settings
from ssl_cli.runs.sweep_jobs import RECORD, can_go_on

GIVEN_AGAIN = ("hydra.sweep.dir", "hydra.mode")


def folder_asked_for(words: list[str]) -> Path:
    """The folder that `resume=FOLDER` names, in a command line that may hold nothing else.

    Raises:
        ConfigError: it is no run's folder, or there is more than that.
    """
    asked = [word for word in words if word.startswith("resume=")]
    others = [word for word in words if word not in asked] + asked[1:]
    if others:
        raise ConfigError(
            f"{others[0]}: a resumed run keeps its settings; resume=RUN takes only trust=PACKAGE beside it"
        )
    value = asked[0].partition("=")[2]
    folder = Path(value).expanduser().absolute()
    if not value or not (can_go_on(folder) or (folder / "config.yaml").exists()):
        raise ConfigError(
            f"resume={value}: is no run's folder; name the one that the run said, such as outputs/compare/…"
        )
    return folder


def settings(folder: Path) -> Config:
    """The settings with which a run goes on.

    Raises:
        ConfigError: they name code that is not trusted, or cannot be used.
    """
    return saved_settings(f"resume={folder}", folder)


def sweep_arguments(folder: Path) -> list[str]:
    """The command line of a sweep, as Hydra recorded it; given its folder again, finished jobs are done at once.

    Relative paths in it count from where it was typed, if its folder lies where it was written then. Components that its
    overrides name are checked with the settings of each job.

    Raises:
        ConfigError: the record cannot be read, or the sweep brings settings that can run code and are not trusted.
    """
    asked = f"resume={folder}"
    if (folder / RECORD).is_symlink():
        raise ConfigError(f"{asked}: its {RECORD} is a link; a sweep writes only to files of its own")
    try:
        saved = (read_yaml(folder / RECORD) or {})["hydra"]
        cwd, recorded = Path(saved["runtime"]["cwd"]), saved["sweep"]["dir"]
        words = [*saved["overrides"]["hydra"], *saved["overrides"]["task"]]
        folders = [
            source["path"] for source in saved["runtime"]["config_sources"] if source["provider"] == "command-line"
        ]
    except (DamagedError, KeyError, TypeError) as error:
        raise ConfigError(f"{asked}: its {RECORD} is not what Hydra writes ({type(error).__name__})") from error
    if not all(isinstance(word, str) for word in (*words, *folders)):
        raise ConfigError(f"{asked}: its {RECORD} is not what Hydra writes")
    kept, problems = [], []
    for word in words:
        if key_of(word) in GIVEN_AGAIN:
            continue
        kept.append(word)
        problems += [f"{asked}: its override {word}: {why}" for why in _override_problems(word)]
    problems += [f"{asked}: {why}" for own in folders if (why := trust.settings_folder_problem(own))]
    if problems:
        raise ConfigError(*problems)
    if (cwd / str(recorded)).resolve() == folder.resolve():
        os.chdir(cwd)
    own = [word for path in folders for word in ("--config-dir", path)]
    return ["-m", *own, *kept, f"hydra.sweep.dir={for_hydra(str(folder))}"]


def _override_problems(word: str) -> list[str]:
    """What keeps a word of a recorded command line from being used again: it must set a setting of the runs."""
    if word.startswith("-"):
        return ["is an option, not a setting"]
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        return ["cannot be read"]
    parts: list[Any] = [*override.key_or_group.replace("/", ".").split("."), *(override.package or "").split(".")]
    if "hydra" in parts and not (plugins.runs_no_code(override) or trust.trusts_hydra_settings()):
        return [f"sets what Hydra does, which can run code; if you trust it, add trust={trust.HYDRA}"]
    return []
