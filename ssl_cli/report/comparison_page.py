"""The page of a comparison: what a report says of its arms, and what it alone has."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssl_cli.report.found_runs import FinishedRun, read_runs
from ssl_cli.report.page import Page, Part, Picture, Table, write_page
from ssl_cli.report.results_table import write_results
from ssl_cli.report.section_part import part_of, report_on, save_pictures
from ssl_cli.report.sections import sections_of


def write_comparison(
    folder: Path, result: dict[str, Any], results: Sequence[Mapping[str, Any]], pretrainings: Sequence[Path]
) -> None:
    """Write `report.html`, `results.csv` and the chart of arms into a comparison's folder.

    Args:
        folder: of the comparison.
        result: its numbers.
        results: those of every arm of every seed, by the names that the comparison gives them.
        pretrainings: the folders of those behind them.
    """
    names = {one["run_id"]: one["arm"] for one in results}
    runs = [_called(run, names) for run in read_runs([folder]).runs]
    arms = [run for run in runs if run.result.get("run_id") in names]
    write_results(runs, folder / "results.csv")
    parts = []
    for section in sections_of(arms):
        reported = report_on(section)
        suffix = f"_{len(parts) + 1}" if parts else ""
        parts.append(part_of(reported, save_pictures(reported, folder, "arms", suffix), section.title if parts else ""))
    seeds = f"{result['seeds']} seed{'s' if result['seeds'] != 1 else ''}"
    about = [
        f"Backbone {result['backbone']} ({result['backbone_parameters']:,} parameters), {seeds}, on "
        f"{result['environment']['device']} in {result['environment']['precision']}. Checkpoint selection: {result['protocol']}.",
        "“Frozen” trains a linear classifier on frozen features; “random weights” is the untrained architecture.",
    ]
    title = f"{result['dataset']} with {result['labels']:,} labels"
    settings = (folder / "config.yaml").read_text(encoding="utf-8")
    parts.append(_trainings(folder, result, pretrainings))
    write_page(Page(title, parts, about, settings), folder / "report.html")


def _called(run: FinishedRun, names: Mapping[str, str]) -> FinishedRun:
    arm = names.get(str(run.result.get("run_id")), run.result["arm"])
    return replace(run, seen=replace(run.seen, result={**run.result, "arm": arm}))


def _trainings(folder: Path, result: dict[str, Any], pretrainings: Sequence[Path]) -> Part:
    """What the arms come from: pre-trainings, their views and curves, and how heads began."""
    pictures = []
    for start in pretrainings:
        name = f"Pre-training, {start.parent.name}" if len(pretrainings) > 1 else "Pre-training"
        pictures.append(Picture(name, start / "curves.png", is_chart=True))
    pictures += [
        Picture("Views: each input above its augmented views", pretrainings[0] / "views.png"),
        Picture("Features of test inputs, before and after pre-training", folder / "feature_map.png"),
        Picture("Lengths of the training texts", pretrainings[0] / "lengths.png"),
        Picture("Nearest training texts, by frozen features", pretrainings[0] / "nearest.png"),
    ]
    tables = [
        Table(
            "",
            ("pre-training", "epochs", "loss", "spread", "kNN", "seconds"),
            [_pretraining_cells(one) for one in result["pretrainings"]],
            [
                "kNN: accuracy of the frozen backbone on held-out training inputs; for display only, nothing is selected by it."
            ],
        ),
        Table(
            "How far heads were decided before training",
            ("arm", "slope of the softmax, by seed"),
            [
                (arm, ", ".join(f"{one:.2g}" for one in found))
                for arm, found in result["softmax_slope_at_start"].items()
            ],
            [
                "1: undecided, 0: saturated. p(1 − p), largest over classes, relative to its maximum ¼: the factor by which a "
                "softmax passes gradients back. A head that pre-training has saturated can hardly be fine-tuned; a new one is "
                "undecided."
            ],
        ),
    ]
    return Part("Pre-training", tables=tables, pictures=pictures)


def _pretraining_cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    if one["run_id"] is None:  # of the library transformers, which does not say
        return (str(one["folder"]), "–", "–", "–", "–", "–")
    return (
        f"seed {one['seed']}",
        f"{one['epochs']:g}",
        f"{one['loss']:.3f}",
        "–" if one["spread"] is None else f"{one['spread']:.3g}",
        "–" if one["knn_accuracy"] is None else f"{100 * one['knn_accuracy']:.1f} %",
        f"{one['seconds']:.0f}",
    )
