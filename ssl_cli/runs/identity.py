"""When two runs are the same: a hash of everything that shapes what comes out, and of nothing else."""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ssl_cli.runs.files import write
from ssl_cli.runs.reading import DamagedError, read_json

# Raised whenever the program computes other results from the same settings, so that no older run is taken for a new one.
FORMAT = 2
RECORD = "identity.json"


def identity(shapes: dict[str, Any]) -> str:
    """The hash by which a finished run is found again.

    Args:
        shapes: all that decides the result, as plain values: settings, fingerprints of data, precision, identities of runs
            that this one starts from.
    """
    text = json.dumps({"format": FORMAT, **shapes}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Recorded:
    """What a run's `identity.json` holds.

    asked: hashes of what the run was asked for, any of which a sweep may look for (see `runs.asked`); none where its data
        changed while it was interrupted.
    stamps: what data and machine were when they could be known by a stamp (see `data.stamp`).
    """

    asked: tuple[str, ...]
    stamps: dict[str, str]


def record(folder: Path, asked: Iterable[str], stamps: Mapping[str, str]) -> None:
    """Keep what a run that begins in a folder was asked for. One that goes on must have been asked for the same."""
    wanted, before = tuple(asked), recorded(folder)
    if before is not None:
        wanted = before.asked if set(wanted) & set(before.asked) else ()
        stamps = {**before.stamps, **stamps}
    content = json.dumps({"asked": wanted, "stamps": dict(sorted(stamps.items()))}, indent=1) + "\n"
    write(folder / RECORD, content)


def recorded(folder: Path) -> Recorded | None:
    """What stands in a folder's `identity.json`; None where it has none that can be read."""
    with contextlib.suppress(DamagedError):
        found = read_json(folder / RECORD)
        if found is not None:
            asked: Any = found.get("asked")
            texts = cast(list[Any], asked) if isinstance(asked, list) else []
            return Recorded(tuple(one for one in texts if isinstance(one, str)), stamps_in(found))
    return None


def stamps_in(found: Mapping[str, Any]) -> dict[str, str]:
    """The stamps in a file, and what they stand for."""
    stamps: Any = found.get("stamps")
    if not isinstance(stamps, dict):
        return {}
    return {key: value for key, value in cast(dict[str, Any], stamps).items() if isinstance(value, str)}
