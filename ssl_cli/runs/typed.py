"""The words that a run was asked for by, and command lines that are made of them."""

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from ssl_cli.config.overrides import key_of
from ssl_cli.runs.below import SeenRun
from ssl_cli.runs.reading import DamagedError
from ssl_cli.runs.sweep_jobs import is_sweep, jobs_of

SWEEPS = ("-m", "--multirun")


def command_line(typed: Iterable[str], words: Sequence[str], without: str = "hydra") -> str:
    """A command line of these words and of those that were typed before, but for what the new ones set.

    Args:
        typed: the words of an earlier command.
        words: a stage, options and overrides that come first; `KEY=` alone leaves a setting out.
        without: the groups whose typed words are left out, as a pattern.
    """
    changed = {key_of(word) for word in words if "=" in word}
    groups = {key for key in changed if "." not in key}
    kept = [
        word
        for word in typed
        if word not in SWEEPS
        and not re.match(rf"[+~]*({without})[=.@/]", word)
        and key_of(word) not in changed
        and key_of(word).partition(".")[0] not in groups
    ]
    return shlex.join(["ssl-cli", *(word for word in words if not word.endswith("=")), *kept])


def words_by_run(runs: Iterable[SeenRun]) -> dict[Path, tuple[str, ...] | None]:
    """By folder, the words that each run was asked for by, a job of a sweep with its own values; None where that is not known."""
    sweeps: dict[Path, dict[Path, tuple[str, ...]]] = {}
    found: dict[Path, tuple[str, ...] | None] = {}
    for run in runs:
        typed = _typed(run)
        sweep = run.folder.parent
        if typed is None or not is_sweep(sweep):
            found[run.folder] = typed
            continue
        if sweep not in sweeps:
            try:
                sweeps[sweep] = {job.folder: job.words for job in jobs_of(sweep)}
            except DamagedError:
                sweeps[sweep] = {}
        own = sweeps[sweep].get(run.folder)
        keys = {key_of(word) for word in own or ()}
        found[run.folder] = None if own is None else (*(word for word in typed if key_of(word) not in keys), *own)
    return found


def _typed(run: SeenRun) -> tuple[str, ...] | None:
    command = run.born.get("command")
    if not isinstance(command, list):
        return None
    words = cast(list[Any], command)
    return tuple(word for word in words if word not in SWEEPS) if all(isinstance(word, str) for word in words) else None


def may_be_typed_again(words: Iterable[str]) -> bool:
    """Whether words from a folder may stand in a command that a person is told to type: they run nothing but this program.

    Options, imports by path, what Hydra looks up, and its functions, which may give any number of values, are nothing that a
    stranger's folder may ask a person for.
    """
    return all(
        word.isprintable() and not word.startswith("-") and not any(one in word for one in ("_target_", "${", "("))
        for word in words
    )
