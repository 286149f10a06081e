"""A job of a sweep in a process that a launcher has started, maybe on another machine.

Nothing is set up there, and its terminal is none, or that of all other jobs too: what a job says goes to the process that started
the sweep, by way of files.
"""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from pathlib import Path

from ssl_cli.cli.sweeps.launchers import is_job_of_slurm
from ssl_cli.cli.sweeps.reports import Report, must_stop, says_into
from ssl_cli.cli.terminal import stopped_by_signals
from ssl_cli.errors import Interrupted
from ssl_cli.runs.files import quoted
from ssl_cli.training import launch, slurm

log = logging.getLogger("ssl_cli")

LOOK = 0.5  # seconds between looks at whether the sweep is to end


def carry_out_in_worker(job: Callable[[], Path], reports: Path, number: int, folder: Path) -> Path | None:
    """Carry out a job and report that it ended.

    Args:
        job: the work, in the main thread.
        reports: the folder of reports.
        number, folder: as of a `Report`.

    Returns: what the job gives; None where it is not finished. No error gets out, since a process that ends takes others along
    in some launchers.
    """

    given, problem = None, ""
    try:
        if not must_stop(reports):
            with _own_process_group(), _said_to(reports, number), _stopped_on_request(reports), _leading():
                given = job()
    except Interrupted as stopped:  # its folder says so
        if is_job_of_slurm() and not must_stop(reports):
            if not slurm.is_ended_for_good(os.environ):
                # It is told to end in order to be started again: without a report or a result, whoever started the sweep goes
                # on waiting.
                sys.exit(128 + stopped.signal_number)
            problem = (
                f"Slurm has ended it for good, as scancel does; go on with: ssl-cli resume={quoted(reports.parent)}"
            )
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    with contextlib.suppress(OSError):  # whoever would read it is gone
        Report(number, str(folder), problem).save(reports)
    return given


def follows(reports: Path) -> bool:
    """Take part in the trainings of a job's first process, where this one is another one of the same job; whether it is.

    Args:
        reports: the folder of reports.

    Raises:
        ConfigError: they do not find each other.
    """
    if is_job_of_slurm():  # workers of Ray, say, whose cluster `srun` has started, have nothing to do with each other
        launch.listen_to_slurm()
    if not launch.rank():
        return False
    if not must_stop(reports):
        from ssl_cli.training.follow import follow_launched

        follow_launched()
    return True


def _leading() -> contextlib.AbstractContextManager[None]:
    """Meanwhile the other processes of the job, if there are any, take part in its trainings."""
    if not launch.launched():
        return contextlib.nullcontext()
    from ssl_cli.training.distributed import leading_launched

    return leading_launched()


@contextlib.contextmanager
def _own_process_group() -> Generator[None]:
    """Ctrl-C reaches the process that started the sweep, which asks the jobs to end once, and not twice."""
    with contextlib.suppress(OSError, AttributeError):  # it leads one already; Windows has none
        os.setpgid(0, 0)
    yield


@contextlib.contextmanager
def _said_to(reports: Path, number: int) -> Generator[None]:
    """What is logged or warned of meanwhile goes to the reports; bars and tables, which have no place there, nowhere."""
    handler = says_into(reports, number)
    before, propagated = log.handlers[:], log.propagate
    log.handlers[:], log.propagate = [handler], False
    log.setLevel(logging.INFO)
    warnings = logging.getLogger("py.warnings")
    warnings.addHandler(handler)
    logging.captureWarnings(True)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):  # noqa: PTH123
            yield
    finally:
        logging.captureWarnings(False)
        warnings.removeHandler(handler)
        log.handlers[:], log.propagate = before, propagated
        handler.close()


@contextlib.contextmanager
def _stopped_on_request(reports: Path) -> Generator[None]:
    """SIGTERM, and a request in the reports, end the job as they end a run of its own."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK):
            if must_stop(reports):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    watcher = threading.Thread(target=look, name="ssl_cli stop", daemon=True)
    with stopped_by_signals():
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
