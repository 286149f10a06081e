"""Whether the folder of a run or a sweep can be made and written into, before anything is."""

import contextlib
import os
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import others
from ssl_cli.runs.sweep_jobs import RECORD, can_go_on


def check_can_be_made(key: str, folder: Path) -> None:
    """Raises ConfigError where a folder cannot be written into; one that is not there is tried out below a name of nobody else's.

    Commands that start at the same time in an empty folder all make `outputs`; none may remove what another relies on.
    """
    missing = not_there(folder)
    if not missing:
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise ConfigError(
                f"{key}={folder}: must be a folder that can be written into, or a path where one can be made"
            )
        return
    there = missing[-1].parent
    try:
        with tempfile.TemporaryDirectory(prefix=".ssl_cli-tried-", dir=there) as tried:
            (Path(tried) / folder.relative_to(there)).mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"{key}={folder}: no folder can be made there ({error.strerror})") from error


def not_there(folder: Path) -> list[Path]:
    """A folder and those above it that are to be made for it, the innermost first."""
    return [path for path in (folder, *folder.parents) if not os.path.lexists(path)]


@contextlib.contextmanager
def gone_if_empty(folders: Sequence[Path]) -> Generator[None]:
    """Folders that a command makes, the innermost first, are gone again where it is refused or stopped and they are empty."""
    try:
        yield
    except BaseException:
        for folder in folders:
            with contextlib.suppress(OSError):  # another command has made something there
                folder.rmdir()
        raise


def check_sweep_folder(folder: Path) -> None:
    """Raises ConfigError where Hydra would write into a folder of other people's files, or through a link."""
    record = folder / RECORD
    if record.is_symlink():
        raise ConfigError(f"hydra.sweep.dir={folder}: its {RECORD} is a link; a sweep writes only files of its own")
    names = others(folder)
    if names and not can_go_on(folder):
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise ConfigError(
            f"hydra.sweep.dir={folder}: holds files that are not a sweep's ({shown}); choose a new or an empty folder"
        )
