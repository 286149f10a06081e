"""`metrics.jsonl`: a line each log step, cut back to what a checkpoint knows of."""

import json
import os
from array import array
from pathlib import Path
from typing import Self

from ssl_cli.errors import ConfigError
from ssl_cli.runs import claim
from ssl_cli.runs.files import open_to_append
from ssl_cli.runs.reading import all_lines


class Metrics:
    """A JSON line each log step. `saved_size` is what a checkpoint must remember to go on from here."""

    def __init__(self, path: Path, keep: int):
        if keep and (not path.exists() or path.stat().st_size < keep):
            raise ConfigError(
                f"resume={path.parent}: metrics.jsonl is shorter than the checkpoint says; was it changed?"
            )
        self._folder = path.parent
        self._file = open_to_append(path)
        self._file.truncate(keep)
        self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            self._file.close()
        except OSError:  # what is left cannot be written either, which was said
            if kind is None:
                raise

    def saved_size(self) -> int:
        """Bytes written so far, all of them on the disk."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def add(self, step: int, values: dict[str, float]) -> None:
        """One line."""
        claim.check_held(self._folder)
        rounded = {key: float(f"{value:.7g}") for key, value in values.items()}
        try:
            self._file.write((json.dumps({"step": step, **rounded}) + "\n").encode())
            self._file.flush()
        except OSError as error:  # of an open file, which says nothing of its name
            raise OSError(error.errno, error.strerror, str(self._folder / "metrics.jsonl")) from error


def columns_of(folder: Path) -> "dict[str, tuple[array[float], array[float]]]":
    """All numbers of a run's metrics by name, each with its steps: 16 bytes a number, however many lines there are."""
    found: dict[str, tuple[array[float], array[float]]] = {}
    for line in all_lines(folder / "metrics.jsonl"):
        for key, value in line.items():
            if key != "step":
                steps, values = found.setdefault(key, (array("d"), array("d")))
                steps.append(line["step"])
                values.append(value)
    return found
