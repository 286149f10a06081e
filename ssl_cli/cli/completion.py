"""Completion in the shell: Hydra's, which knows groups and settings, the stages' bare words, and commands with their folders."""

import contextlib
import io
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ssl_cli.cli.runs.commands import COMMANDS
from ssl_cli.config.groups import groups


def with_stages(complete: Callable[[], None], shell: str) -> None:
    """Print what Hydra offers for the words in the environment, and the stages that begin like the last of them.

    Choices in a folder of the user's own, which `--config-dir` among these words names, are offered too.

    Args:
        complete: Hydra's, which prints; it takes the folder from the arguments of this program.
        shell: what asks; fish wants a line for each offer, the others want spaces.
    """
    command, *words = os.environ.get("COMP_LINE", "").split(" ")
    if words[:1] and words[0] in COMMANDS and len(words) > 1:
        print(("\n" if shell == "fish" else " ").join(_folders(words[-1])))
        return
    own = _own_folder(words[:-1])
    if own:
        sys.argv += ["--config-dir", own]
    stages = groups(own)["stage"].choices
    last = words[-1] if words else ""
    spelt_out = [f"stage={word}" if word in stages else word for word in words[:-1]]  # bare words are not Hydra's
    os.environ["COMP_LINE"] = " ".join([command, *spelt_out, last])
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        complete()
    is_first = not any(word in stages for word in words[:-1])
    bare = [*stages, *(COMMANDS if len(words) == 1 else ())]
    offers = [word for word in bare if is_first and word.startswith(last) and not last.startswith("-")]
    separator = "\n" if shell == "fish" else " "
    print(separator.join([*offers, *said.getvalue().split()]))


def _folders(begun: str) -> list[str]:
    """Folders that begin like a word; hidden ones only where it says so."""
    parent, _, name = begun.rpartition("/")
    root = Path(f"{parent}/" if "/" in begun else ".").expanduser()
    found = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    front = begun[: len(begun) - len(name)]
    return [
        f"{front}{path}/" for path in found if path.startswith(name) and path.startswith(".") <= name.startswith(".")
    ]


def _own_folder(words: list[str]) -> str | None:
    """The folder of settings that finished words name, if it is there."""
    found = None
    for option, value in itertools.zip_longest(words, words[1:]):
        if option in ("--config-dir", "-cd"):
            found = value
        elif option.startswith("--config-dir="):
            found = option.partition("=")[2]
    return found if found and Path(found).is_dir() else None
