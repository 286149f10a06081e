"""Evaluations on corrupted inputs, as rows of one table."""

from collections.abc import Sequence
from typing import Any

from ssl_cli.report.found_runs import FinishedRun
from ssl_cli.report.settings_of_arms import settings_of_arms, with_settings


def corrupted_rows(runs: Sequence[FinishedRun]) -> list[dict[str, Any]]:
    """The rows of all evaluations, each arm with the settings in which these differ; none where there is no evaluation."""
    evaluations = [run for run in runs if "strengths" in run.result]
    settings = settings_of_arms([(run, "") for run in evaluations])
    return [
        {**row, "arm": with_settings(row["arm"], settings[run.folder])}
        for run in evaluations
        for row in run.result["rows"]
    ]
