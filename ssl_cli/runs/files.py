"""Files that are there whole or not at all, and that never lead outside their folder; paths as people type them."""

import contextlib
import csv
import errno
import hashlib
import io
import os
import re
import secrets
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from ssl_cli.errors import ConfigError

# What a write that was killed leaves behind. No other program gives such names, so that these, and only these, are removed.
PARTIAL = re.compile(r"\..+\.[0-9a-f]{12}\.ssl_cli-partial")
NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)  # Windows knows the latter only


def write(path: Path, content: bytes | str) -> None:
    """Replace a file as a whole, whatever happens meanwhile. A link is replaced, not followed."""
    temporary = partial_name(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINKS, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # of an open file, which says nothing of its name
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def as_csv(
    rows: Iterable[Sequence[object]], errors: Literal["backslashreplace", "surrogateescape"] = "backslashreplace"
) -> bytes:
    """A table as CSV in UTF-8.

    Args:
        rows: of cells.
        errors: names of files that are not UTF-8 are escaped, or stay the bytes that they are.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode(errors=errors)


def named(root: Path, *names: str) -> Iterator[Path]:
    """The files of these names in a folder and all folders below, links not followed.

    Folders that other processes remove meanwhile have none (`Path.rglob` fails on them).
    """
    for folder, _, files in os.walk(root):
        yield from (Path(folder) / name for name in names if name in files)


def partial_name(path: Path) -> Path:
    """A new name beside `path` for a file that is not whole yet."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.ssl_cli-partial")


def remove_partials(folder: Path) -> None:
    """Remove what writes that were killed left in a folder."""
    for path in list(folder.iterdir()):
        if PARTIAL.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def open_to_append(path: Path) -> BinaryIO:
    """A file of a run that grows line by line.

    Raises:
        ConfigError: it is a link, through which something else would be written.
    """
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_LINKS, 0o666), "ab")
    except OSError as error:
        if path.is_symlink():
            raise ConfigError(
                f"{path}: is a link to {path.readlink()}; a run writes only to files of its own"
            ) from error
        raise


def others(folder: Path) -> list[str]:
    """The names in a folder that are not hidden, in order; none where there is no folder."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(name for name in names if not name.startswith("."))


def sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def what_failed(error: OSError, folder: Path) -> str:
    """Why a file could not be written or read, and what can be done, for a run in `folder` where the error names no file."""
    path = f"a file of {printable(short(folder))}"
    if error.filename:
        path = printable(short(Path(os.fsdecode(error.filename))))
    if error.errno is None:  # NumPy's
        return f"{path}: cannot be written ({error})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: cannot be written: the disk is full; free some space"
    if error.errno == errno.EROFS:
        return f"{path}: cannot be written: its disk is read-only"
    return f"{path}: cannot be read or written ({error.strerror})"


def short(folder: Path) -> str:
    """A path as one would type it here."""
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)


def quoted(folder: Path) -> str:
    """A path as one would type it here into a shell."""
    return shlex.quote(short(folder))


def printable(text: str) -> str:
    """A text from a file or a name as it may reach a terminal: what would steer it is spelt out."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
