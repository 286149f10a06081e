"""A sweep whose jobs run in other processes, as the process that started it shows it: what they say, which are done, one bar."""

import contextlib
import logging
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from tqdm import tqdm

from ssl_cli.cli.sweep_progress import failures, say_how_a_job_went
from ssl_cli.cli.sweeps.reports import HIDDEN, Report, reports_in, stop
from ssl_cli.errors import Interrupted, TrainingError
from ssl_cli.runs.below import seen
from ssl_cli.runs.claim import holder_of
from ssl_cli.runs.files import named, quoted
from ssl_cli.runs.referred import referral
from ssl_cli.runs.state import own_status

log = logging.getLogger("ssl_cli")

LOOK = 0.5  # seconds between looks
FAR = 2.0  # seconds between looks at how far each job is
PATIENCE = 30.0  # seconds for jobs to end after their steps, where the launcher does not wait for them


class Watched:
    """The jobs of a sweep in other processes.

    Args:
        sweep: its folder.
        jobs: how many there are; None where that is not known.
        end_waiting: ends those that wait for a machine, by the sweep's folder.
    """

    def __init__(self, sweep: Path, jobs: int | None, end_waiting: Callable[[Path], None]):
        self.reports = sweep / f"{HIDDEN}-{secrets.token_hex(4)}"
        self.stopped_by = 0
        self._sweep, self._end_waiting = sweep, end_waiting
        self._bar = tqdm(total=jobs, desc="sweep", unit="job", leave=False, disable=None, dynamic_ncols=True)
        self._read: dict[str, int] = {}  # bytes of each log
        self._done: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="ssl_cli sweep", daemon=True)

    def begin(self) -> None:
        """Watch, in a thread."""
        self.reports.mkdir(parents=True)
        self._thread.start()

    def end(self) -> None:
        """Show what is left to show; nothing is left of the reports."""
        with contextlib.suppress(Interrupted):
            self.all_done()
        self._bar.close()
        shutil.rmtree(self.reports, ignore_errors=True)

    def all_done(self) -> None:
        """Show what is left to show before the sweep's table; raises Interrupted where the sweep was asked to stop."""
        self._ended.set()
        self._thread.join()
        self._show()
        if self.stopped_by:
            raise Interrupted(self.stopped_by)

    def wait_for_jobs(self) -> None:
        """Until those that were asked to end have, or do not within half a minute."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and any(holder_of(self._run_of(path)) for path in self.reports.glob("*.log")):
            time.sleep(LOOK)

    def request_stop(self, number: int, _frame: object) -> None:
        """Handle a signal: jobs end after their steps, and none begins. A second one does not wait for them."""
        if self.stopped_by:
            raise Interrupted(number)
        self.stopped_by = number
        stop(self.reports)
        log.info("The jobs of the sweep are asked to end …")
        self._end_waiting(self._sweep)

    def _look(self) -> None:
        waited = 0.0
        while not self._ended.wait(LOOK):
            waited += LOOK
            self._show()
            if waited >= FAR and not self._bar.disable:
                waited = 0.0
                self._bar.set_postfix_str(self._how_far())

    def _show(self) -> None:
        """What jobs have said since, and which are done."""
        reports = list(reports_in(self.reports))
        for path in sorted(self.reports.glob("*.log")):
            self._relay(path)
        for report in reports:
            if report.number not in self._done:
                self._done.add(report.number)
                self._bar.update()
                say_how_a_job_went(self._sweep, Path(report.folder))

    def _relay(self, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(self._read.get(path.name, 0))
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read[path.name] = self._read.get(path.name, 0) + len(whole)
        for line in whole.decode(errors="replace").splitlines():
            log.info("%s │ %s", path.stem, line)

    def _how_far(self) -> str:
        """The steps of the jobs that are trained now."""
        said = []
        for path in sorted(self.reports.glob("*.log")):
            folder = self._run_of(path)
            if int(path.stem) in self._done or not folder.is_dir():
                continue
            inner = max(named(folder, "metrics.jsonl"), key=os.path.getmtime, default=folder / "metrics.jsonl").parent
            status = own_status(seen(inner), held=True)
            if status.step is not None:
                said.append(f"{path.stem}: {status.step:,}" + (f"/{status.steps:,}" if status.steps else ""))
        return ", ".join(said)

    def _run_of(self, path: Path) -> Path:
        """The folder of the run that the job of a log is at, which may be one that another sweep has begun."""
        folder = self._sweep / path.stem
        reference = referral(folder)
        return folder if reference is None else reference.run

    def broken(self) -> list[Report]:
        """Of the jobs that could not say in their folders how they ended."""
        return [report for report in reports_in(self.reports) if report.error]


_current: list[Watched] = []  # the one of this process, while a sweep runs


class JobsDone(Callback):
    """All that jobs have said is shown before the sweep's table is."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Hydra's call when all jobs are done."""
        for shown in _current:
            shown.all_done()


@contextlib.contextmanager
def watched(sweep: Path, jobs: int | None, end_waiting: Callable[[Path], None]) -> Generator[Watched]:
    """Show the jobs of a sweep meanwhile, and end them on Ctrl-C.

    Args:
        sweep, jobs, end_waiting: as of `Watched`.

    Raises:
        TrainingError: a job's process ended without a word.
        Interrupted: the sweep was asked to stop, and its jobs have ended.
    """
    shown = Watched(sweep, jobs, end_waiting)
    _current.append(shown)
    before = {number: signal.signal(number, shown.request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    shown.begin()
    failed: list[Report] = []
    broken: str | None = None
    try:
        yield shown
    except Interrupted:
        if not shown.stopped_by:
            raise
    except Exception as error:
        # A process that is asked to end may take its pool along, and a job of Slurm that has not begun has no result.
        if not shown.stopped_by:
            broken = _broken(error, sweep)
            if broken is None:
                raise
            stop(shown.reports)
            shown.wait_for_jobs()
    finally:
        with contextlib.suppress(OSError):
            stop(shown.reports)  # whatever still runs
        failed = shown.broken()
        shown.end()
        _current.remove(shown)
        for number, handler in before.items():
            signal.signal(number, handler)
    if shown.stopped_by:
        log.info("Go on with: ssl-cli resume=%s", quoted(sweep))
        raise Interrupted(shown.stopped_by)
    _raise(sweep, failed, [] if broken is None else [broken])


def _broken(error: Exception, sweep: Path) -> str | None:
    """What a launcher says of a process that did not end as a job does; None where it is another error."""
    if type(error).__module__.partition(".")[0] not in ("joblib", "submitit", "ray"):
        return None
    first = str(error).strip().partition("\n")[0].partition(". ")[0]
    return (
        f"a job's process ended without a word, such as for want of memory ({type(error).__name__}: {first}); "
        f"go on with: ssl-cli resume={quoted(sweep)}"
    )


def _raise(sweep: Path, failed: list[Report], more: list[str]) -> None:
    said = [f"Job {Path(one.folder).name}: {one.error}" for one in failed] + more
    if said:
        raise TrainingError("\n".join([*map(str, failures(sweep)), *said]))
