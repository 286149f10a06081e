"""Completion in the shell: Hydra's, which knows groups and settings, and the stages' bare words."""

import contextlib
import io
import os
from collections.abc import Callable


def with_stages(complete: Callable[[], None], stages: list[str], shell: str) -> None:
    """Print what Hydra offers for the words in the environment, and the stages that begin like the last of them.

    Args:
        complete: Hydra's, which prints.
        stages: the bare words.
        shell: what asks; fish wants a line for each offer, the others want spaces.
    """
    command, *words = os.environ.get("COMP_LINE", "").split(" ")
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
