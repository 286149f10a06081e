"""What `ssl-cli --help` says: everything on one screen, and with GROUP=CHOICE behind it all about that choice."""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from ssl_cli.config.groups import Group, groups, settings_of_choice

WIDTH = 80
USAGE = """\
ssl-cli: what is a label worth, and how much of it can pre-training replace?
  ssl-cli [STAGE] [GROUP=CHOICE ...] [KEY=VALUE ...]  one stage, or all arms
  ssl-cli -m KEY=VALUE,VALUE [...]                    a sweep; ends in one table
  ssl-cli resume=FOLDER                               go on with a run or sweep
  ssl-cli status|list|diff|prune|log [FOLDER ...]     see runs, and keep order
  ssl-cli --help GROUP=CHOICE                         a choice and its settings
  ssl-cli --config-dir FOLDER [...]                   with choices of your own
  ssl-cli --cfg job [...]                             what would be run
"""


def text(overrides: Sequence[str], extra_folder: str | None) -> str:
    """The whole help, or, where overrides name choices of groups, what these are and which settings they have.

    Raises:
        ConfigError: an override cannot be carried out.
    """
    found = groups(extra_folder)
    asked = [word.partition("=") for word in overrides if word.partition("=")[0] in found]
    if asked:
        return "\n".join(_choice(found[group], choice, overrides, extra_folder) for group, _, choice in asked)
    lines = [line for group in found.values() for line in _listed(group)]
    return "\n".join([USAGE, "Groups and their choices, the default first:", *lines]) + "\n"


def _listed(group: Group) -> list[str]:
    others = [name for name in group.choices if name != group.default]
    names = " ".join([group.default, *others] if group.default else others)
    start = f"  {group.name:<11}"
    return textwrap.wrap(start + names, WIDTH, subsequent_indent=" " * len(start), break_long_words=False)


def _choice(group: Group, choice: str, overrides: Sequence[str], extra_folder: str | None) -> str:
    """The comment at the head of a choice's file, and each setting with its value and its comment."""
    settings = settings_of_choice(group, choice, overrides, extra_folder)
    notes: dict[str, str] = {}
    for file in _files(group, choice):
        notes |= dict(_comments(file))
    about = textwrap.fill(notes.pop("", ""), WIDTH)
    keys = {f"{key}={value}": notes.get(key.removeprefix(f"{group.name}."), "") for key, value in settings}
    width = min(44, max(map(len, keys), default=0))
    lines = [line for setting, note in keys.items() for line in _line(setting, note, width)]
    return "\n".join([f"{group.name}={choice}", about, "", *(lines or ["  no settings"])]) + "\n"


def _line(setting: str, note: str, width: int) -> list[str]:
    if not note:
        return [f"  {setting}"]
    indent = " " * (width + 4)
    wrapped = textwrap.wrap(note, max(30, WIDTH - len(indent)))
    if len(setting) > width:
        return [f"  {setting}", *(indent + line for line in wrapped)]
    return [f"  {setting:<{width}}  {wrapped[0]}", *(indent + line for line in wrapped[1:])]


def _files(group: Group, choice: str) -> Iterator[Path]:
    """The files that a choice is made of, its bases first."""
    path = next((folder / f"{choice}.yaml" for folder in group.folders if (folder / f"{choice}.yaml").exists()), None)
    if path is None:
        return
    defaults = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("defaults", [])
    for base in defaults:
        if isinstance(base, str) and base != "_self_" and not base.startswith("/"):
            yield from _files(group, base)
    yield path


def _comments(path: Path) -> Iterator[tuple[str, str]]:
    """The comments of a file by the setting they stand beside; that at its head by the empty key."""
    above: list[tuple[int, str]] = []
    head: list[str] = []
    in_head = True
    for line in path.read_text(encoding="utf-8").splitlines():
        content, _, comment = line.partition("#") if line.lstrip().startswith("#") else line.partition("  #")
        if not content.strip():
            if in_head and not comment.startswith(" @"):
                head.append(comment.removeprefix("#").strip())
            continue
        in_head = False
        indent = len(content) - len(content.lstrip())
        key = content.strip().partition(":")[0]
        above = [(depth, name) for depth, name in above if depth < indent] + [(indent, key)]
        if comment:
            yield ".".join(name for _, name in above), comment.strip()
    yield "", " ".join(head)
