"""What is particular to each of Hydra's launchers: how many jobs it runs at once, what it must be told, how it ends jobs."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.cores import cores
from ssl_cli.errors import ConfigError
from ssl_cli.training import launch

THREADS = "OMP_NUM_THREADS"  # by which a launcher's processes are told how many threads they get


@dataclass(frozen=True)
class Launcher:
    """A launcher.

    at_once: how many of a number of jobs share this machine's cores, by the launcher's settings; None: it is others that they
        run on, and whoever runs them says how many cores each gets.
    words: settings that it is given where none were typed.
    counts: its settings that are numbers of something, of which there must be one at least; of processor cores, -1 are all.
    end_waiting: ends jobs that wait for a machine, by the sweep's folder.
    """

    at_once: Callable[[Any, int], int | None]
    words: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    end_waiting: Callable[[Path], None] = lambda _: None


def _joblib(settings: Any, jobs: int) -> int:
    asked = int(settings.n_jobs)
    return max(1, min(jobs, asked if asked > 0 else cores() + 1 + asked))


def _ray(settings: Any, jobs: int) -> int:
    each = float(settings.ray.remote.get("num_cpus", 1)) or 1.0
    return max(1, min(jobs, int(float(settings.ray.init.get("num_cpus", cores())) / each)))


def _cancel_waiting(sweep: Path) -> None:
    """Slurm's jobs that have not begun; the numbers of all of them are names of files that submitit has made."""
    numbers = {path.name.partition("_")[0] for path in (sweep / ".submitit").glob("[0-9]*")}
    if numbers and shutil.which("scancel"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["scancel", "--state=PENDING", *sorted(numbers)], timeout=30, capture_output=True, check=False
            )


def is_job_of_slurm() -> bool:
    """Whether this process is a job of the launcher for Slurm: its tasks share its trainings, and it may be started again."""
    return os.environ.get("SUBMITIT_EXECUTOR") == "slurm"


WEEK = 7 * 24 * 60
BASIC = "BasicLauncher"  # Hydra's own
LAUNCHERS = {
    "JoblibLauncher": Launcher(_joblib, counts=("n_jobs",)),
    "RayLauncher": Launcher(
        _ray, ("+hydra.launcher.ray.init.log_to_driver=false", "+hydra.launcher.ray.init.include_dashboard=false")
    ),
    # It begins all jobs of a batch at once, and ends them after an hour if it is not told otherwise.
    "LocalLauncher": Launcher(
        lambda _, jobs: jobs,
        (f"hydra.launcher.timeout_min={WEEK}", f"hydra.sweeper.max_batch_size={cores()}"),
        ("timeout_min",),
    ),
    "SlurmLauncher": Launcher(
        lambda *_: None,
        counts=("timeout_min", "cpus_per_task", "tasks_per_node", "nodes", "array_parallelism"),
        end_waiting=_cancel_waiting,
    ),
}


def launcher_of(settings: Any) -> Launcher | None:
    """The launcher of Hydra's settings; None where jobs run one after the other in this process.

    Of one that is not known here, it is taken that its jobs run elsewhere, and that whoever runs them shares out the cores.
    """
    name = str(settings.get("_target_")).rpartition(".")[2]
    return None if name == BASIC else LAUNCHERS.get(name, Launcher(lambda *_: None))


def check_launcher(settings: Any) -> None:
    """Raises ConfigError where a launcher is asked for a number of jobs, cores or minutes that is none, or has no place here."""
    launcher = launcher_of(settings)
    problems: list[str] = []
    if launcher is not None and (count := launch.launched()):
        problems.append(
            f"hydra/launcher={str(settings.get('_target_')).rpartition('.')[2]}: {count} processes were launched together, "
            "which share each training; leave the launcher out, or start one process"
        )
    for key in launcher.counts if launcher else ():
        value = settings.get(key)
        all_cores = key == "n_jobs" and isinstance(value, int) and value < 0
        if value is not None and not all_cores and not (isinstance(value, int) and value >= 1):
            problems.append(
                f"hydra.launcher.{key}={value}: must be 1 or more"
                + (", or -1 for all cores" if key == "n_jobs" else "")
            )
    if problems:
        raise ConfigError(*problems)
