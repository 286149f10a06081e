"""What a sweep ends in: one report on all its runs."""

import json
import logging
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

log = logging.getLogger("ssl_cli")


class SweepTable(Callback):
    """After each job of a sweep: how it went, and how many are left. After the last: the table of all of them, also as
    `sweep.json`, and the report with its pictures.
    """

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Hydra's call when a job is done, in the process that did it."""
        from ssl_cli.cli.sweep_progress import say_how_a_job_went

        if config.hydra.mode == RunMode.MULTIRUN:
            say_how_a_job_went(Path(config.hydra.sweep.dir).absolute(), Path(config.hydra.runtime.output_dir))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Hydra's call when all jobs are done."""
        summarise(Path(config.hydra.sweep.dir).absolute())


def summarise(folder: Path) -> None:
    """One table and one report over all runs below a folder that can be compared; says so where there is none."""
    from ssl_cli.report.corrupted import corrupted_rows
    from ssl_cli.report.found_runs import read_runs
    from ssl_cli.report.report import show_report, write_report
    from ssl_cli.report.results_table import write_results
    from ssl_cli.report.table import show_corruptions
    from ssl_cli.runs.files import quoted, remove_partials, short, write
    from ssl_cli.runs.sweep_jobs import job_folders

    remove_partials(folder)
    found = read_runs(job_folders(folder).values())
    for said in found.left_out:
        log.info("%s", said)
    if found.is_worked_on:
        log.info("Once that is done, ssl-cli resume=%s shows all runs of the sweep.", quoted(folder))
    corrupted = corrupted_rows(found.runs)
    if corrupted:
        write_results(found.runs, folder / "results.csv")
        write(folder / "sweep.json", json.dumps(corrupted, indent=1) + "\n")
        show_corruptions(corrupted, "All runs of the sweep, corrupted")
        return
    reported = write_report(found, folder, f"Sweep {folder.name}", picture="sweep", ignored=_ignored(folder))
    rows = [{**row, "dataset": one.section.dataset} for one in reported for row in one.section.rows]
    if not rows:
        log.info("Sweep finished: %s runs in %s", len(found.runs), short(folder))
        return
    write(folder / "sweep.json", json.dumps(rows, indent=1) + "\n")
    show_report(reported, "all runs of the sweep")
    log.info("Report: %s/report.html, and results.csv", quoted(folder))


def _ignored(folder: Path) -> set[str] | None:
    """Groups that a sweep does not vary, so that jobs differ in them by their data alone, or since another sweep made their runs.

    None where it is not known what it varies.
    """
    from ssl_cli.config.overrides import key_of
    from ssl_cli.runs.reading import DamagedError
    from ssl_cli.runs.sweep_jobs import jobs_of

    try:
        varied = {key_of(word).partition(".")[0] for job in jobs_of(folder) for word in job.words}
    except DamagedError:
        return None
    by_data = set() if "experiment" in varied else {"schedule", "augment", "backbone", "dataset"}
    return {"outputs", "reuse", "runtime", *by_data} - varied if varied else None
