"""What Hydra calls for each job of a run or a sweep, in this process or in one that a launcher starts."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.cli.terminal import Exits, stopped_by_signals

PROCESS = secrets.token_hex(8)  # this process, as no other one on any machine


class JobError(Exception):
    """A job that is not finished, for a sweeper that counts such jobs; why is said elsewhere."""


@dataclass
class Jobs:
    """The jobs of a command line, for a function that Hydra carries to where they run.

    carry_out: one job with its settings; gives the folder of its run. In a sweep no training that fails gets out of it.
    gives: what a sweeper that searches is told of a finished run's result, and as an error of a job without; None for others.
    reports: the folder of reports, of a sweep with a launcher.
    """

    carry_out: Callable[[Any], Path]
    gives: Callable[[dict[str, Any] | None], float | None] | None = None
    reports: Path | None = None
    process: str = PROCESS

    def __call__(self, settings: Any) -> Any:
        """One job; a process that was launched with the one that carries it out takes part in its trainings."""
        if self.process != PROCESS and self.reports is not None:
            from ssl_cli.cli.sweeps.worker import follows

            if follows(self.reports):
                return None
        folder = self._here(settings) if self.process == PROCESS else self._elsewhere(settings)
        if self.gives is None:
            return None
        from ssl_cli.runs.result import read_result

        given = None if folder is None else self.gives(read_result(folder))
        if given is None:
            raise JobError("the job is not finished")
        return given

    def _here(self, settings: Any) -> Path:
        with Exits(), stopped_by_signals():  # also where a launcher needs no other process for one job at a time
            return self.carry_out(settings)

    def _elsewhere(self, settings: Any) -> Path | None:
        from hydra.core.hydra_config import HydraConfig

        from ssl_cli.cli.sweeps.worker import carry_out_in_worker

        if self.reports is None:
            raise TypeError("a job in another process needs a folder of reports")
        hydra = HydraConfig.get()
        number, folder = int(hydra.job.num), Path(hydra.runtime.output_dir)
        return carry_out_in_worker(lambda: self.carry_out(settings), self.reports, number, folder)
