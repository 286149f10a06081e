"""What finished runs no longer need: checkpoints, and what writes that were killed left behind.

A checkpoint serves to go on with a training. A finished run has none to go on with: it is started from, predicted with and
resumed from its weights and its result, which are never removed.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ssl_cli.errors import ConfigError
from ssl_cli.runs import claim
from ssl_cli.runs.below import SeenRun
from ssl_cli.runs.checkpoint import LAST, PREVIOUS
from ssl_cli.runs.files import PARTIAL
from ssl_cli.runs.reading import flattened, is_file


@dataclass(frozen=True)
class Prunable:
    """The files of a finished run that can go; or why none of them may."""

    run: SeenRun
    files: tuple[Path, ...]
    kept: str = ""

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(path.lstat().st_size for path in self.files if is_file(path))


def prunable(runs: list[SeenRun], others: Iterable[SeenRun] = ()) -> list[Prunable]:
    """What can go, run by run; runs that have nothing to remove are left out.

    Args:
        runs: below the folder that is pruned.
        others: further runs, which may start from these.
    """
    around = {run.folder: run for run in (*others, *runs)}
    going_on = [run for run in around.values() if not _is_done(run, around)]
    needed = {source: run for run in going_on for source in sources_of(run)}
    found = [Prunable(run, tuple(_files(run.folder)), _why_kept(run, around, needed)) for run in runs]
    return [one for one in found if one.files]


def remove(one: Prunable) -> int:
    """Remove the files of a run while no other process may work there; the bytes that this freed.

    Raises:
        ConfigError: another process works there.
    """
    freed = 0
    with claim.claimed(one.run.folder):
        if not is_file(one.run.folder / "result.json"):
            raise ConfigError(f"{one.run.folder}: is no longer finished; nothing was removed there")
        for path in one.files:
            if is_file(path):
                freed += path.lstat().st_size
                path.unlink()
    return freed


def sources_of(run: SeenRun) -> Iterator[Path]:
    """Folders that a run names in its settings, or has found, to start from; relative ones from where it was typed."""
    where = run.born.get("folder")
    base = Path(where) if isinstance(where, str) else Path.cwd()
    values: list[Any] = [value for _, value in flattened(run.settings)]
    start = run.folder / "start.json"
    if is_file(start):
        values.append(_chosen(start, run.folder))
    for value in values:
        if isinstance(value, str) and value and "\0" not in value and len(value) < 4096:
            yield Path(os.path.abspath(base / value))  # noqa: PTH100  no link is followed


def _chosen(path: Path, folder: Path) -> str:
    """The folder that start.json names, which is one string, relative to the run's; empty where it cannot be read."""
    try:
        said = json.loads(path.read_text()) if path.stat().st_size < 10_000 else ""
    except (OSError, ValueError, RecursionError):
        return ""
    return os.path.join(folder, said) if isinstance(said, str) and said else ""  # noqa: PTH118  may hold anything


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if (path.name in (LAST, PREVIOUS) or PARTIAL.fullmatch(path.name)) and is_file(path):
            yield path


def _with_those_around(run: SeenRun, around: dict[Path, SeenRun]) -> list[SeenRun]:
    """A run and those that it lies in, the outermost last."""
    return [run, *(around[parent] for parent in run.folder.parents if parent in around)]


def _is_done(run: SeenRun, around: dict[Path, SeenRun]) -> bool:
    """Whether nobody will go on with a run: the outermost one around it is finished."""
    return _with_those_around(run, around)[-1].result is not None


def _why_kept(run: SeenRun, around: dict[Path, SeenRun], needed: dict[Path, SeenRun]) -> str:
    """Why nothing of a run may be removed, in a few words; empty where it may."""
    if run.damage:
        return f"damaged: {run.damage}"
    inside = _with_those_around(run, around)
    if any(claim.holder_of(one.folder) for one in inside):
        return "a process works there"
    if run.result is None:
        return "is not finished"
    if not _is_done(run, around):
        return "the run around it is not finished"
    for one in inside:
        if one.folder in needed:
            return f"an unfinished run starts from it: {needed[one.folder].folder}"
    missing = [name for name in _weights(run) if not is_file(run.folder / name)]
    if missing:
        return f"its {missing[0]} is missing"
    return ""


def _weights(run: SeenRun) -> list[str]:
    recorded: Any = (run.result or {}).get("weights")
    return list(cast(dict[str, Any], recorded)) if isinstance(recorded, dict) else []
