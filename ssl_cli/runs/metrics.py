"""`metrics.jsonl`: a line each log step, cut back to what a checkpoint knows of."""

import json
import os
from pathlib import Path
from typing import Self

from ssl_cli.errors import ConfigError
from ssl_cli.runs import claim
from ssl_cli.runs.files import open_to_append


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

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def saved_size(self) -> int:
        """Bytes written so far, all of them on the disk."""
        os.fsync(self._file.fileno())
        return self._file.tell()

    def add(self, step: int, values: dict[str, float]) -> None:
        """One line."""
        claim.check_held(self._folder)
        rounded = {key: float(f"{value:.7g}") for key, value in values.items()}
        self._file.write((json.dumps({"step": step, **rounded}) + "\n").encode())
        self._file.flush()


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """All lines of a run's metrics, whole ones only."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
