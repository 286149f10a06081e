"""Finished runs on one page. Nothing is trained, no data are read, and PyTorch is not imported."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssl_cli.config.schema import Config
from ssl_cli.data.progress import show_progress
from ssl_cli.errors import ConfigError
from ssl_cli.report.found_runs import FoundRuns, read_runs
from ssl_cli.report.report import show_report, write_report
from ssl_cli.report.section_part import Reported
from ssl_cli.runs.files import printable, quoted
from ssl_cli.runs.identity import identity
from ssl_cli.runs.result import Result
from ssl_cli.runs.run import Run
from ssl_cli.stages.report_settings import ReportStage

log = logging.getLogger("ssl_cli")

SHOWN_FROM = 100  # runs that take long enough to read for a bar


@dataclass(frozen=True, kw_only=True)
class ReportResult(Result):
    """Of a report.

    runs: how many finished runs it is on; left_out: a sentence for each that is not among them, or for all that are not finished.
    parts: runs of the same data and test: `dataset`, `test_inputs`, `measure`, the `verdict` in sentences, and `rows`, one an arm
        and number of labels.
    """

    runs: int
    left_out: list[str]
    parts: list[dict[str, Any]]


def report(config: Config, run: Run) -> dict[str, Any]:
    """Read the runs and write the page, the table and the charts; the numbers of the run.

    Raises:
        ConfigError: there is no finished run in the folders.
    """
    if run.result:
        return run.result
    stage = config.stage_as(ReportStage)
    found = _but_reports(read_runs(stage.folders(), _bar, without=run.folder), run.stage)
    if not found.runs:
        asked = printable(", ".join(stage.patterns))
        raise ConfigError(*found.left_out, f"stage.runs={asked}: has no finished run below it")
    for said in found.left_out:
        log.info("%s", said)
    reported = write_report(found, run.folder, "Report")
    show_report(reported, "all runs")
    sections = [one.section for one in reported]
    return run.finish(
        ReportResult(
            identity=identity({"stage": "report", "runs": [str(one.result.get("identity")) for one in found.runs]}),
            labels=max((row["labels"] for section in sections for row in section.rows), default=0),
            dataset=", ".join(dict.fromkeys(section.dataset for section in sections)) or "none",
            backbone=", ".join(dict.fromkeys(str(one.result.get("backbone")) for one in found.runs)),
            protocol="reads finished runs, and no data",
            runs=len(found.runs),
            left_out=list(found.left_out),
            parts=[_numbers(one) for one in reported],
        )
    )


def _but_reports(found: FoundRuns, stage: str) -> FoundRuns:
    """The runs but for earlier reports, which a folder of all runs has too."""
    return replace(found, runs=tuple(one for one in found.runs if one.result["stage"] != stage))


def _bar(folders: list[Path]) -> Iterable[Path]:
    return show_progress("reading", "runs", len(folders), SHOWN_FROM, folders)


def _numbers(one: Reported) -> dict[str, Any]:
    section, verdict = one.section, one.verdict
    said = [] if verdict is None else [verdict.answer, verdict.sureness, verdict.advice]
    return {
        "dataset": section.dataset, "test_inputs": section.test_inputs, "measure": section.measure, "verdict": said,
        "commands": [] if verdict is None else [command for _, command in verdict.steps], "rows": section.rows,
    }  # fmt: skip


def closing(result: dict[str, Any], run: Run) -> None:
    """Where it stands."""
    place = quoted(run.folder)
    log.info(
        "Report on %s runs: %s/report.html, and results.csv (%.0f s)", f"{result['runs']:,}", place, result["seconds"]
    )
