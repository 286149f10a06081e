"""A section on a page: its verdict, tables and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.report import languages, plots, table
from ssl_cli.report.advice import next_steps, place_of
from ssl_cli.report.intervals import accuracy_interval
from ssl_cli.report.label_curve_plot import save_label_curve
from ssl_cli.report.label_curve_table import HEADINGS, Row, cells, notes
from ssl_cli.report.page import Part, Picture, Table, Verdict
from ssl_cli.report.sections import Counted, Section
from ssl_cli.report.verdict import (
    Contest,
    answer,
    compared,
    contest_of,
    how_sure,
    rival_curves,
    section_curves,
    shown_range,
    slope_sentence,
)
from ssl_cli.runs.files import printable, short
from ssl_cli.runs.reading import number

CAVEATS = 6  # that are shown
OF_LABELS = "What arms are worth in labels"


@dataclass(frozen=True)
class Reported:
    """A section with what is said of it: the rows of its comparison, and its verdict, if there is any arm to speak of."""

    section: Section
    rows: list[Row]
    contest: Contest | None
    verdict: Verdict | None


def report_on(section: Section) -> Reported:
    """What there is to say of a section."""
    rows = compared(section)
    contest = contest_of(section, rows)
    if contest is None:
        return Reported(section, rows, None, Verdict("Every pre-training collapsed: there is nothing to compare."))
    steps = next_steps(section, contest)
    slope = slope_sentence(section, contest)
    first = f"{steps[0].why}." if steps else ""
    place = place_of(section)
    verdict = Verdict(
        answer=answer(section, contest),
        sureness=how_sure(section, contest),
        advice=" ".join(filter(None, (first, slope))),
        steps=[(step.why, step.command) for step in steps],
        place="" if place == Path.cwd() else printable(str(place)),
    )
    return Reported(section, rows, contest, verdict)


def save_pictures(reported: Reported, folder: Path, name: str, suffix: str = "") -> list[Picture]:
    """Write the charts of a section into a folder, and list them.

    Args:
        reported: the section.
        folder: to write into.
        name: of the picture of all arms.
        suffix: of the files' names, where there are several sections.
    """
    section, made = reported.section, []
    path = folder / f"{name}{suffix}.png"
    lines = {row.get("line") for row in section.rows}
    if section.axis is None or len(lines) == len(section.rows) > 1:  # lines of one point each would say nothing
        plots.save_arms(section.rows, path, section.measure, section.test_inputs)
        made.append(Picture(f"{section.measure.capitalize()} of each arm", path, is_chart=True))
    else:
        plots.save_lines(section.rows, section.axis_name, path, section.measure)
        if not section.has_label_curve:
            made.append(Picture(f"{section.measure.capitalize()} over {section.axis_name}", path, is_chart=True))
    if section.has_label_curve:
        curve = folder / f"label_curve{suffix}.png"
        saved = reported.contest.saved if reported.contest else None
        save_label_curve(
            list(section_curves(section).values()), curve, [saved] if saved else [],
            test_inputs=section.test_inputs, colours=section.colours,
        )  # fmt: skip
        made.insert(0, Picture("Accuracy over labels: means, and their 95 % intervals", curve, is_chart=True))
    return made


def part_of(reported: Reported, charts: Sequence[Picture], title: str = "") -> Part:
    """The section on a page.

    Args:
        reported: the section.
        charts: of `save_pictures`.
        title: of the part; empty for the only one.
    """
    section = reported.section
    said = [
        "Mean ± standard deviation over seeds; a seed determines labels, initial weights, batches and views. The interval is "
        "that of the mean over seeds, or, of one seed, of its accuracy on other test inputs (Wilson)."
    ]
    if section.replaced:
        count = "1 run does" if section.replaced == 1 else f"{section.replaced} runs do"
        said.append(f"{count} not count, since a later one has the same arm, labels and seed.")
    shown = _shown_runs(reported)
    return Part(
        title,
        reported.verdict,
        _warnings(section),
        [
            Table("", *_arm_table(section), said),
            *_difference_tables(reported),
            *(Table("Test accuracy and macro-F1 by language, %", *one) for one in languages.tables(section.rows)),
            _class_table(shown),
            _run_table(section),
        ],
        [*charts, *_pictures_of(shown)],
    )


def _arm_table(section: Section) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    rows = section.rows
    heads = list(table.headings(rows, section.measure))
    place = heads.index(section.measure) + 1
    heads.insert(place, "95 % interval")
    lines = []
    for row in rows:
        line = list(table.cells(row, rows))
        found = accuracy_interval(row["accuracies"], section.test_inputs)
        line.insert(place, "" if found is None else shown_range(found))
        lines.append(tuple(line))
    return tuple(heads), lines


def _difference_tables(reported: Reported) -> list[Table]:
    if not reported.rows:
        return []
    rivals = rival_curves(reported.section)
    said = notes(reported.rows, rivals)
    if reported.section.has_label_curve:
        return [Table(OF_LABELS, HEADINGS, cells(reported.rows), said)]
    return [
        Table(f"Differences from “{rivals[0].arm}”", HEADINGS[:-1], [line[:-1] for line in cells(reported.rows)], said)
    ]


def _warnings(section: Section) -> list[str]:
    found = []
    collapsed = {row["arm"]: row["seeds"] for row in section.rows if row["collapsed"]}
    for arm, seeds in collapsed.items():
        found.append(
            f"Collapsed in pre-training (all embeddings equal), counted apart: {arm}, seed {', '.join(map(str, seeds))}."
        )
    caveats: dict[str, int] = {}
    for one in section.counted:
        for caveat in one.result.get("caveats") or ():
            caveats[caveat] = caveats.get(caveat, 0) + 1
    for caveat, count in list(caveats.items())[:CAVEATS]:
        found.append(f"Note ({count} of {len(section.counted)} runs): {printable(caveat)}.")
    if len(caveats) > CAVEATS:
        found.append(f"And {len(caveats) - CAVEATS} more notes, in result.json of the runs.")
    return found


def _shown_runs(reported: Reported) -> list[Counted]:
    """One run of the best arm and one of its rival, of the same seed where they have one."""
    contest = reported.contest
    if contest is None:
        return []
    groups = [
        reported.section.runs_of(row["arm"], row["labels"]) for row in (contest.rival, contest.best) if row is not None
    ]
    seeds = set.intersection(*({one.result["seed"] for one in group} for group in groups))
    return [next((one for one in group if one.result["seed"] in seeds), group[0]) for group in groups if group]


def _about(one: Counted) -> str:
    return f"{one.result['arm']}, {one.result['labels']:,} labels, seed {one.result['seed']}"


def _pictures_of(shown: Sequence[Counted]) -> list[Picture]:
    found = [Picture(f"On the test set: {_about(one)}", one.run.folder / "confusion.png") for one in shown]
    found += [Picture(f"Test inputs that are wrong: {_about(one)}", one.run.folder / "mistakes.png") for one in shown]
    for one in reversed(shown):  # by what pre-training learnt, where an arm has that
        if (path := one.run.folder / "suspect_labels.png").exists():
            return [*found, Picture(f"Labels that look wrong: {_about(one)}", path)]
    return found


def _class_table(shown: Sequence[Counted]) -> Table:
    """Each class: labels, test inputs, and the accuracy of the runs that are shown; empty where they do not say it."""
    known = [one for one in shown if one.result.get("per_class")]
    names = [[row["class"] for row in one.result["per_class"]] for one in known]
    if not known or any(other != names[0] for other in names):
        return Table("", (), ())
    lines = []
    for rows in zip(*(one.result["per_class"] for one in known), strict=True):
        counts = [_count(rows[0].get(key)) for key in ("labels", "inputs")]
        lines.append((rows[0]["class"], *counts, *(_share(row.get("accuracy")) for row in rows)))
    of = known[0].result
    title = f"Accuracy of each class, seed {of['seed']}, {of['labels']:,} labels"
    return Table(title, ("class", "labels", "test inputs", *(one.result["arm"] for one in known)), lines)


def _run_table(section: Section) -> Table:
    heads = ("arm", "labels", "seed", section.measure, "macro-F1", "seconds", "run")
    lines = [
        (
            one.result["arm"], _count(one.result["labels"]), str(one.result["seed"]), _share(one.result["test_accuracy"]),
            _share(one.result.get("macro_f1")), f"{one.result['seconds']:.0f}", printable(short(one.run.folder)),
        )
        for one in section.counted
    ]  # fmt: skip
    return Table("Every run", heads, lines)


def _share(value: Any) -> str:
    found = number(value)
    return "–" if found is None else f"{100 * found:.1f} %"


def _count(value: Any) -> str:
    found = number(value)
    return "–" if found is None else f"{found:,.0f}"
