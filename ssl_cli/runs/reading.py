"""Files of a run's folder read by someone who only looks: the folder may be damaged, or a stranger's.

Nothing is written, no link is followed, no code is run, and what would take all memory is refused.
"""

import itertools
import json
import math
import os
import stat
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import yaml

from ssl_cli.runs.files import NO_LINKS

LARGEST = 32 * 2**20  # bytes of a file
MOST = 20_000  # values in a file: aliases of YAML can make few bytes into any number of values
TAIL = 2**18  # bytes at the end of a file that grows
PARSER, SPACE = json.JSONDecoder(), " \t\r\n"  # and what JSON takes for space


class DamagedError(Exception):
    """A file that is not what a run writes, in a few words."""


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is no file.

    Raises:
        DamagedError: it is something else.
    """
    return _read(path, json.loads, "no JSON")


def read_yaml(path: Path) -> dict[str, Any] | None:
    """A mapping in plain YAML, without tags; None where there is no file.

    Raises:
        DamagedError: it is something else.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # both are safe; the first is quick
    return _read(path, lambda content: yaml.load(content, loader), "no plain YAML")


def read_names(path: Path) -> tuple[str, ...] | None:
    """A JSON list of names; None where there is no file.

    Raises:
        DamagedError: it is something else.
    """
    found = _read(path, lambda content: {"names": json.loads(content)}, "no JSON")
    if found is None:
        return None
    names = found["names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in cast(list[Any], names)):
        raise DamagedError(f"{path.name} is no list of names")
    return tuple(cast(list[str], names))


def last_lines(path: Path) -> list[dict[str, Any]]:
    """The last lines of a file of JSON objects, whole ones only; none where it cannot be read."""
    try:
        content = _content(path, TAIL)
    except DamagedError:
        return []
    return [found for line in (content or b"").split(b"\n")[:-1] if (found := _line(line)) is not None]


def all_lines(path: Path) -> Iterator[dict[str, Any]]:
    """All lines of a file of JSON objects, whole ones only, however many there are; none where it cannot be read."""
    if not is_file(path):
        return
    with path.open("rb") as file:
        rest = b""
        while block := file.read(TAIL):
            *lines, rest = (rest + block).split(b"\n")
            if len(rest) > TAIL:
                rest = b"?"  # a line so long is none, and neither is what is left of it
            yield from (found for line in lines if (found := _line(line)) is not None)


def is_file(path: Path) -> bool:
    """Whether there is a file that is no link, pipe or device."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def number(value: Any) -> float | None:
    """A finite number as it is, anything else not at all."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def flattened(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values by their whole keys, such as `method.temperature`; a list is one value."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flattened(cast(dict[str, Any], value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def moment(said: str) -> float:
    """A moment in ISO 8601, in seconds since the epoch; 0 where it is none."""
    try:
        return datetime.fromisoformat(said).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


def _read(path: Path, parse: Callable[[bytes], Any], otherwise: str) -> dict[str, Any] | None:
    """What a file holds by name; None where there is none. `otherwise` is what it is where it cannot be parsed."""
    content = _content(path)
    if content is None:
        return None
    try:
        return _as_object(parse(content), path)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path.name} is {otherwise}") from error


def _content(path: Path, tail: int | None = None) -> bytes | None:
    """The bytes of a file, or its last ones; None where there is none."""
    if not os.path.lexists(path):
        return None
    if not is_file(path):
        raise DamagedError(f"{path.name} is no file of its own")
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | NO_LINKS), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if tail is not None:
                file.seek(max(0, size - tail))
                return file.read(tail)
            if size > LARGEST:
                raise DamagedError(f"{path.name} has {size:,} bytes")
            return file.read(LARGEST)
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read ({error.strerror})") from error


def _line(text: bytes) -> dict[str, Any] | None:
    """A JSON object; None where it is something else."""
    try:
        line = text.decode().strip(SPACE)
        value, end = PARSER.raw_decode(line)  # in half the time of `json.loads`, which looks for the encoding of each
    except (ValueError, RecursionError):
        return None
    return cast(dict[str, Any], value) if end == len(line) and isinstance(value, dict) else None


def _as_object(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DamagedError(f"{path.name} holds no settings or numbers by name")
    if sum(1 for _ in itertools.islice(_nodes(value), MOST + 1)) > MOST:
        raise DamagedError(f"{path.name} has more than {MOST:,} values")
    return cast(dict[str, Any], value)


def _nodes(value: Any) -> Iterator[None]:
    """One for each value, those behind aliases as often as they stand there."""
    yield None
    if isinstance(value, dict):
        for key, item in cast(dict[Any, Any], value).items():
            if not isinstance(key, str):
                raise ValueError("a name is no text")
            yield from _nodes(item)
    elif isinstance(value, (list, tuple, set)):
        for item in cast(list[Any], value):
            yield from _nodes(item)
