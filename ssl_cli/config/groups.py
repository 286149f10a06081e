"""The groups of the command line: what can be chosen, and which settings a choice has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf

from ssl_cli.config.choices import GROUPS, settings_inside
from ssl_cli.config.overrides import NAME, composed_with, reading
from ssl_cli.config.trust import settings_folder
from ssl_cli.config.typecheck import shown
from ssl_cli.errors import ConfigError


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
    with reading(extra_folder):
        composed, problems, in_place = composed_with(list(overrides), NAME)
        if problems or in_place:
            raise ConfigError(*problems, *(sentence for _, sentence in in_place))
        if group.name == "experiment":
            plain, *_ = composed_with([word for word in overrides if not word.startswith("experiment=")], NAME)
            usual = dict(_leaves(plain, ""))
            return iter([(key, value) for key, value in _leaves(composed, "") if usual.get(key) != value])
        return iter(list(_leaves(composed[group.name], f"{group.name}.")))


def _leaves(node: DictConfig, prefix: str) -> Iterator[tuple[str, str]]:
    plain = cast(dict[str, Any], OmegaConf.to_container(node, resolve=False))
    for key, value in plain.items():
        inside = settings_inside(node, key)
        if inside:
            yield from _leaves(inside, f"{prefix}{key}.")
        elif key not in ("_target_", "name"):
            yield f"{prefix}{key}", shown(value).replace(" ", "")
