"""Completion in the shell: Hydra's, which knows groups and settings, and the stages' bare words."""

import contextlib
import io
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ssl_cli.config.groups import groups


def with_stages(complete: Callable[[], None], shell: str) -> None:
    """Print what Hydra offers for the words in the environment, and the stages that begin like the last of them.

    Choices in a folder of the user's own, which `--config-dir` among these words names, are offered too.

    Args:
        complete: Hydra's, which prints; it takes the folder from the arguments of this program.
        shell: what asks; fish wants a line for each offer, the others want spaces.
    """
    command, *words = os.environ.get("COMP_LINE", "").split(" ")
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
    offers = [stage for stage in stages if is_first and stage.startswith(last) and not last.startswith("-")]
    separator = "\n" if shell == "fish" else " "
    print(separator.join([*offers, *said.getvalue().split()]))


def _own_folder(words: list[str]) -> str | None:
    """The folder of settings that finished words name, if it is there."""
    found = None
    for option, value in itertools.zip_longest(words, words[1:]):
        if option in ("--config-dir", "-cd"):
            found = value
        elif option.startswith("--config-dir="):
            found = option.partition("=")[2]
    return found if found and Path(found).is_dir() else None
