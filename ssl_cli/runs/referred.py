"""A job of a sweep that another run answers: its folder holds nothing but where that run is."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ssl_cli.runs.files import write
from ssl_cli.runs.identity import stamps_in
from ssl_cli.runs.reading import DamagedError, is_file, read_json

NAME = "referred.json"


@dataclass(frozen=True)
class Referral:
    """Where the run of a job is, and the stamps by which that was known (see `data.stamp`)."""

    run: Path
    stamps: dict[str, str]


def refer(job: Path, run: Path, stamps: Mapping[str, str]) -> None:
    """Let a run answer a job. The path is kept relative to the job, so that both can be moved together."""
    job.mkdir(parents=True, exist_ok=True)
    content = {"run": os.path.relpath(run, job), "stamps": dict(sorted(stamps.items()))}
    write(job / NAME, json.dumps(content, indent=1) + "\n")


def referral(job: Path) -> Referral | None:
    """Where the run of a job is; None where the job has no such file, or there is no run there any more."""
    if not is_file(job / NAME):
        return None
    try:
        found = read_json(job / NAME) or {}
    except DamagedError:
        return None
    where = found.get("run")
    if not isinstance(where, str) or not where or "\0" in where:
        return None
    run = Path(os.path.normpath(job / where))
    return Referral(run, stamps_in(found)) if is_file(run / "config.yaml") else None


def forget(job: Path) -> None:
    """Let a job have a run of its own again."""
    (job / NAME).unlink(missing_ok=True)
