"""The report on finished runs: `report.html`, `results.csv` and charts in a folder, and what a terminal shows of it."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from ssl_cli.report import table
from ssl_cli.report.found_runs import FoundRuns
from ssl_cli.report.label_curve_table import HEADINGS, cells, notes
from ssl_cli.report.page import Page, write_page
from ssl_cli.report.results_table import write_results
from ssl_cli.report.section_part import OF_LABELS, Reported, part_of, report_on, save_pictures
from ssl_cli.report.sections import sections_of
from ssl_cli.report.verdict import rival_curves

log = logging.getLogger("ssl_cli")

SEVERAL = "Runs of different data, or tested on different numbers of inputs, are not averaged: each has its own part."


def write_report(
    found: FoundRuns, folder: Path, title: str, picture: str = "arms", ignored: Collection[str] | None = None
) -> list[Reported]:
    """Write the report on finished runs, wherever these lie.

    Args:
        found: the runs; those that cannot be compared stand in `results.csv` alone.
        folder: to write into.
        title: of the page, which the data complete.
        picture: the name of the picture of all arms.
        ignored: groups of settings that make no other arm; as of `settings_of_arms`.

    Returns:
        Each part of the report: runs of the same data and test.
    """
    write_results(found.runs, folder / "results.csv")
    reported = [report_on(section) for section in sections_of(found.runs, ignored)]
    parts = []
    for number, one in enumerate(reported):
        charts = save_pictures(one, folder, picture, f"_{number + 1}" if number else "")
        parts.append(part_of(one, charts, one.section.title if len(reported) > 1 else ""))
    only = f": {reported[0].section.title}" if len(reported) == 1 else ""
    count = f"{len(found.runs)} finished run{'s' if len(found.runs) != 1 else ''}"
    about = [
        *([SEVERAL] if len(reported) > 1 else []),
        *([] if reported else ["No run here has an accuracy to compare."]),
        f"{count}; results.csv beside this page has every number of them.",
        *found.left_out,
    ]
    write_page(Page(f"{title}{only}", parts, about), folder / "report.html")
    return reported


def show_report(reported: Sequence[Reported], title: str) -> None:
    """Print the tables of a report, and its verdicts."""
    if len(reported) > 1:
        log.info("%s", SEVERAL)
    for one in reported:
        name = one.section.title if len(reported) > 1 else one.section.dataset
        table.show(one.section.rows, f"{name}, {title}", one.section.measure)
        if one.rows and one.section.has_label_curve:
            table.show_cells(f"{name}, {OF_LABELS[0].lower()}{OF_LABELS[1:]}", HEADINGS, cells(one.rows))
            for note in notes(one.rows, rival_curves(one.section)):
                log.info("%s", note)
        if one.verdict is not None:
            log.info("%s", one.verdict.answer)
            if one.verdict.sureness:
                log.info("How sure: %s", one.verdict.sureness)
            for why, command in one.verdict.steps:
                log.info("Next: %s    # %s", command, why)
