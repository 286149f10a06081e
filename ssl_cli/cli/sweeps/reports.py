"""What the jobs of a sweep tell the process that started them, whatever launches them: files in the sweep's folder.

`N.log` has what job N says, `N.json` that it ended; where `stop` is, jobs end. Only files reach a job on another machine.
"""

import json
import logging
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path

from ssl_cli.runs.files import write

HIDDEN = ".ssl_cli-jobs"  # with a number of its own for each process that starts a sweep


@dataclass(frozen=True)
class Report:
    """A job has ended; whether its run is finished, the folder says.

    number: of the job.
    folder: of its run.
    error: what kept the job from saying in its folder how it ended; empty where nothing did.
    """

    number: int
    folder: str
    error: str = ""

    def save(self, reports: Path) -> None:
        """Write it where the process that started the sweep looks."""
        write(reports / f"{self.number}.json", json.dumps(asdict(self)))


def reports_in(folder: Path) -> Generator[Report]:
    """Those that have been written so far, by the numbers of their jobs."""
    for path in sorted(folder.glob("*.json"), key=lambda path: int(path.stem)):
        yield Report(**json.loads(path.read_text()))


def stop(reports: Path) -> None:
    """Ask all jobs to end, also those that have not begun."""
    (reports / "stop").touch()


def must_stop(reports: Path) -> bool:
    """Whether they are asked to, or whoever would ask is gone."""
    return (reports / "stop").exists() or not reports.is_dir()


def says_into(reports: Path, number: int) -> logging.Handler:
    """A handler for what a job says."""
    handler = logging.FileHandler(reports / f"{number}.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler
