"""What Hydra calls for each job of a run or a sweep, in this process or in one that a launcher starts."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_cli.cli.terminal import Exits
from ssl_cli.errors import ConfigError, TrainingError

PROCESS = secrets.token_hex(8)  # this process, as no other one on any machine


class JobError(Exception):
    """A job that is not finished, for a sweeper that counts such jobs; why is said elsewhere."""


@dataclass
class Jobs:
    """The jobs of a command line, for a function that Hydra carries to where they run.

    carry_out: one job with its settings, in the folder that it gives.
    in_sweep: whether they are several; then a training that fails ends none of the others.
    gives: what a sweeper that searches is told of a finished run's result, and as an error of a job without; None for others.
    reports: the folder of reports, of a sweep with a launcher.
    failures: what is to be said at the end of those that this process carried out.
    """

    carry_out: Callable[[Any], Path]
    in_sweep: bool
    gives: Callable[[dict[str, Any] | None], float | None] | None = None
    reports: Path | None = None
    failures: list[str] = field(default_factory=list)
    process: str = PROCESS

    def __call__(self, settings: Any) -> Any:
        """One job."""
        folder = self._here(settings) if self.process == PROCESS else self._elsewhere(settings)
        if self.gives is None:
            return None
        from ssl_cli.runs.result import read_result

        given = None if folder is None else self.gives(read_result(folder))
        if given is None:
            raise JobError("the job is not finished")
        return given

    def _here(self, settings: Any) -> Path | None:
        with Exits():
            try:
                return self.carry_out(settings)
            except (TrainingError, ConfigError) as error:
                # What is refused is a mistake in a sweep that was typed, and one of many tries of a search.
                if not self.in_sweep or (isinstance(error, ConfigError) and self.gives is None):
                    raise
                from ssl_cli.cli.sweep_progress import job_name

                self.failures.append(f"{job_name(*_folders())}: {error}")
                return None

    def _elsewhere(self, settings: Any) -> Path | None:
        from ssl_cli.cli.sweeps.worker import carry_out_in_worker

        if self.reports is None:
            raise TypeError("a job in another process needs a folder of reports")
        _, folder = _folders()
        return carry_out_in_worker(lambda: self.carry_out(settings), self.reports, _number(), folder)


def _folders() -> tuple[Path, Path]:
    """Of the sweep, and of the run of this job."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).absolute(), Path(hydra.runtime.output_dir)


def _number() -> int:
    from hydra.core.hydra_config import HydraConfig

    return int(HydraConfig.get().job.num)
