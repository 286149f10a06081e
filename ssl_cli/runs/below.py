"""The runs below a folder, for someone who only looks."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import printable
from ssl_cli.runs.reading import DamagedError, is_file, number, read_json, read_yaml
from ssl_cli.runs.result import numbers_first

Show = Callable[[list[Path]], Iterable[Path]]


@dataclass(frozen=True)
class SeenRun:
    """A run's folder as it was found.

    settings, born, result: what stands in config.yaml, run.json and result.json; empty, or None, where that is not there.
    damage: why it cannot be read, in a few words.
    """

    folder: Path
    settings: dict[str, Any]
    born: dict[str, Any]
    result: dict[str, Any] | None
    damage: str | None = None

    def named(self, group: str) -> str:
        """The choice of a group, such as `stage`; empty where there is none."""
        chosen = self.settings.get(group)
        name: Any = chosen.get("name") if isinstance(chosen, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return name if isinstance(name, str) else ""

    @property
    def began(self) -> str:
        """When, as ISO 8601; empty where that is not known."""
        when = self.born.get("began")
        return when if isinstance(when, str) else ""

    @property
    def accuracy(self) -> float | None:
        """The one number of a finished run: on the test set, or of nearest neighbours; None where there is none."""
        result = self.result or {}
        found = number(result.get("test_accuracy"))
        return number(result.get("knn_accuracy")) if found is None else found


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, whole or damaged."""
    return is_file(folder / "config.yaml") and (is_file(folder / "run.json") or is_file(folder / "result.json"))


def seen(folder: Path) -> SeenRun:
    """A run's folder, read."""
    try:
        return SeenRun(
            folder,
            read_yaml(folder / "config.yaml") or {},
            read_json(folder / "run.json") or {},
            read_json(folder / "result.json"),
        )
    except DamagedError as error:
        return SeenRun(folder, {}, {}, None, str(error))


def folders_below(root: Path) -> Iterator[Path]:
    """A folder and all folders in it that are neither hidden nor links."""
    for path, names, _ in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".")]
        yield Path(path)


def runs_below(root: Path, show: Show = iter) -> list[SeenRun]:
    """All runs below a folder, the folder itself too, in the order of their paths; jobs in that of their numbers.

    Args:
        root: the folder.
        show: goes through the folders of runs while they are read, such as with a bar.
    """
    return [seen(folder) for folder in show(sorted(filter(is_run, folders_below(root)), key=numbers_first))]


def jobs_and_parts(runs: list[SeenRun]) -> list[tuple[SeenRun, list[SeenRun]]]:
    """Runs that lie in no other one, each with those inside it, such as the arms of a comparison."""
    found: dict[Path, tuple[SeenRun, list[SeenRun]]] = {}
    for run in runs:
        outer = next((found[parent] for parent in reversed(run.folder.parents) if parent in found), None)
        if outer is None:
            found[run.folder] = (run, [])
        else:
            outer[1].append(run)
    return list(found.values())


def asked_folder(value: str) -> Path:
    """The folder that a person names.

    Raises:
        ConfigError: there is none.
    """
    folder = Path(value).expanduser().absolute()
    try:
        if folder.is_dir():
            return folder
    except (OSError, ValueError):
        pass
    raise ConfigError(
        f"{printable(value)}: is no folder; it must be that of a run or a sweep, or one with runs below it"
    )


def runs_asked_for(value: str, show: Show = iter) -> tuple[Path, list[SeenRun]]:
    """The folder that a person names, and the runs below it; `show` as of `runs_below`.

    Raises:
        ConfigError: there is no such folder, or no run in it.
    """
    folder = asked_folder(value)
    runs = runs_below(folder, show)
    if not runs:
        raise no_runs(value)
    return folder, runs


def no_runs(value: str) -> ConfigError:
    """What a person is told who names a folder without runs."""
    return ConfigError(
        f"{printable(value)}: has no runs below it; runs are saved in outputs, or where hydra.run.dir says"
    )


def disk_size(folder: Path) -> int:
    """Bytes of all files below a folder; links count as links."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118  called for every file
            except OSError:  # gone meanwhile
                continue
    return total
