"""What a saved file may build: a stranger's run folder must run no code.

Settings that a person types may name any component. Settings read from a file (`resume=`, `stage.run=`, `stage.teacher=`, …)
may name the components that `conf/` lists for their group, and what the person trusts by `trust=NAME` on the command line:
a Python package, a folder of settings that a sweep was typed with (`--config-dir`), or `hydra` for a sweep's settings of Hydra.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from ssl_cli.config.schema import Component
from ssl_cli.errors import ConfigError

HYDRA = "hydra"
OWN = "ssl_cli"
KINDS = {
    "dataset": "a data set",
    "augment": "views",
    "backbone": "a backbone",
    "head": "a head",
    "method": "a method",
    "stage": "a stage",
}

_packages: set[str] = set()  # trusted with all that is in them
_folders: set[Path] = set()
_components: set[str] = set()  # import paths that the command line itself named


def settings_folder() -> Path:
    """Where the YAML files of this program are: inside an installed package, beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def take(words: Iterable[str]) -> list[str]:
    """Trust what `trust=NAME` words name, several with commas between them; the other words are given back.

    Raises:
        ConfigError: a name is neither a package nor a folder, or is this program's own.
    """
    others: list[str] = []
    problems: list[str] = []
    for word in words:
        if not word.startswith("trust="):
            others.append(word)
            continue
        for name in word.partition("=")[2].split(","):
            if is_own(name):
                problems.append(
                    f"trust={name}: what a run may build of this program needs no trust, and the rest gets none"
                )
                continue
            is_package = re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name)
            is_folder = name and Path(name).expanduser().is_dir()
            if is_package:
                _packages.add(name)
            if is_folder:  # `conf` may be either, and is what a person calls both
                _folders.add(Path(name).expanduser().resolve())
            if not (is_package or is_folder):
                problems.append(f"trust={name}: must be a Python package, a folder of settings or {HYDRA}")
    if problems:
        raise ConfigError(*problems)
    return others


def trust_components_of(config: Any) -> None:
    """What the command line itself names may also stand in the files that its run reads back."""
    _components.update(component.path for component in components(config))


def granted() -> tuple[set[str], set[Path], set[str]]:
    """All trust given so far, for `grant` in a process that a launcher starts."""
    return set(_packages), set(_folders), set(_components)


def grant(trusted: tuple[set[str], set[Path], set[str]]) -> None:
    """Trust in this process what another one was told to trust."""
    packages, folders, components = trusted
    _packages.update(packages)
    _folders.update(folders)
    _components.update(components)


def from_a_file(group: str, path: str) -> str | None:
    """Why settings read from a file may not name a component; None where they may."""
    parts = path.split(".")
    packages = {".".join(parts[:end]) for end in range(1, len(parts))}
    if path in shipped(group) or path in _components or packages & _packages:
        return None
    if is_own(path):
        return f"is not {KINDS.get(group, 'a component')} of this program, and a file may name nothing else of it"
    return f"would run code of {path}; if you trust it, add trust={parts[0]}"


def settings_folder_problem(folder: str) -> str | None:
    """Why a sweep's own folder of settings may not be used again; None where it may."""
    if Path(folder).resolve() in _folders:
        return None
    return f"would be read with the settings in {folder}, which can run code; if you trust them, add trust={folder}"


def trusts_hydra_settings() -> bool:
    """Whether a sweep's own settings of Hydra, such as its launcher's, may be used again."""
    return HYDRA in _packages


def is_own(path: str) -> bool:
    """Whether an import path is one of this program."""
    return path.split(".")[0] == OWN


@cache
def shipped(group: str) -> frozenset[str]:
    """The import paths that the files of a group in `conf/` name."""
    files = sorted((settings_folder() / group).glob("*.yaml")) if group else []
    return frozenset(path for file in files for path in _targets(yaml.safe_load(file.read_text(encoding="utf-8"))))


def _targets(settings: Any) -> Iterator[str]:
    if isinstance(settings, dict):
        for key, value in cast(dict[str, Any], settings).items():
            if key == "_target_":
                yield value
            else:
                yield from _targets(value)


def components(value: Any) -> Iterator[Component]:
    """Every component in typed settings, those in the arguments of others too."""
    if isinstance(value, Component):
        yield value
        yield from components(value.arguments)
    elif is_dataclass(value):
        for field in fields(value):
            yield from components(getattr(value, field.name))
    elif isinstance(value, dict):
        for item in cast(dict[str, Any], value).values():
            yield from components(item)
