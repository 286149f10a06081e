"""What a sweep ends in: one table over all its runs."""

import json
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

LABELS = "budget.labels"
CROSS_VALIDATED = "cross-validated accuracy"
NOT_SAID = dict.fromkeys(("pretraining", "backbone_parameters", "images_per_second"))  # by every stage


class SweepTable(Callback):
    """After each job of a sweep: how it went, and how many are left. After the last: the table of all of them, also as
    `sweep.json` and `sweep.png`.
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
    """One table over all runs below a folder that can be compared; says so where there is none."""
    from ssl_cli.report import arms, plots, table
    from ssl_cli.runs.files import short, write
    from ssl_cli.runs.result import finished_runs
    from ssl_cli.runs.run import log

    finished = list(finished_runs(folder))
    varied = _what_varies(folder)
    settings = {path: varied.get(path.relative_to(folder).parts[0], {}) for path, _ in finished}
    corrupted = [
        {**row, "arm": _with_settings(row["arm"], settings[path])}
        for path, result in finished
        if result.get("stage") == "evaluate"
        for row in result["rows"]
    ]
    if corrupted:
        write(folder / "sweep.json", json.dumps(corrupted, indent=1) + "\n")
        table.show_corruptions(corrupted, "All runs of the sweep, corrupted")
        return
    compared, measure = _compared(finished, folder)
    if not compared:
        log.info("Sweep finished: %s runs in %s", len(finished), short(folder))
        return
    axis = _axis(varied, {result["labels"] for _, result in compared})
    points = {}
    for path, result in compared:
        others = {key: value for key, value in settings[path].items() if key != axis}
        # How many layers there are to keep may be what the picture is drawn over.
        line = _with_settings(result["arm"].partition(",")[0] if "head.keep" in others else result["arm"], others)
        result["arm"] = _with_settings(result["arm"], settings[path])
        points[result["arm"]] = (line, _number(None if axis is None else settings[path].get(axis)))
    made = table.rows([result for _, result in compared])
    if axis is None:
        plots.save_arms(made, folder / "sweep.png", measure)
    else:
        for row in made:
            row["line"], row["x"] = points[row["arm"].removesuffix(arms.COLLAPSED)]
            row["x"] = row["labels"] if axis == LABELS else row["x"]
        plots.save_lines(made, _axis_name(axis, varied), folder / "sweep.png", measure)
    write(folder / "sweep.json", json.dumps(made, indent=1) + "\n")
    dataset = compared[0][1]["dataset"]
    table.show(made, f"{dataset}, all runs of the sweep", measure)
    if axis == LABELS and measure == "test accuracy":
        inputs = _test_inputs([result for _, result in compared])
        _show_label_curve([row for row in made if not row["collapsed"]], dataset, inputs, folder / "label_curve.png")
    log.info("Table and picture: %s", short(folder))


def _test_inputs(results: list[dict[str, Any]]) -> int | None:
    """On how many inputs all of them were tested; None where that is not the same, or not known."""
    counts = {sum(one["inputs"] for one in result.get("per_class") or ()) for result in results} - {0}
    return counts.pop() if len(counts) == 1 else None


def _show_label_curve(rows: list[dict[str, Any]], dataset: str, test_inputs: int | None, path: Path) -> None:
    """What the other arms are worth in labels of those that have labels only; nothing where there is only one of the two."""
    from ssl_cli.report import arms, table
    from ssl_cli.report.label_curve_plot import save_label_curve
    from ssl_cli.report.label_curve_table import HEADINGS, cells, compare_arms, curves_of, notes, saved_sentence
    from ssl_cli.runs.run import log

    curves = curves_of(rows)
    rivals = [curves.pop(arm) for arm in arms.RIVALS if arm in curves]
    if not rivals or not curves:
        return
    compared = compare_arms(list(curves.values()), rivals, test_inputs)
    table.show_cells(f"{dataset}, what arms are worth in labels", HEADINGS, cells(compared))
    for note in notes(compared, rivals):
        log.info("%s", note)
    budgets = sorted({row.labels for row in compared if row.saved})
    middle = [row.saved for row in compared if row.saved and row.labels == budgets[(len(budgets) - 1) // 2]]
    for saved in middle:
        log.info("%s", saved_sentence(saved))
    save_label_curve([*rivals, *curves.values()], path, middle[-1:])


def _compared(
    finished: list[tuple[Path, dict[str, Any]]], folder: Path
) -> tuple[list[tuple[Path, dict[str, Any]]], str]:
    """The runs that go into the table, and what it shows of them.

    These are classifiers and jobs with an accuracy of their own and no classifier inside, or else pre-trainings that are jobs.
    """
    is_in_folds = any(_has_folds_alone(result) for _, result in finished)
    finished = [(path, _by_folds(result)) for path, result in finished]
    whole = [(path, result) for path, result in finished if result.get("fold") is None]  # not the folds of another run
    classifiers = [path for path, result in whole if result.get("ends_in") in ("classifier", "regression")]

    def is_tested_job(path: Path, result: dict[str, Any]) -> bool:
        has_numbers = None not in (result.get("test_accuracy"), result.get("labels"))
        return path.parent == folder and has_numbers and not any(path in inner.parents for inner in classifiers)

    tested = [
        (path, {**NOT_SAID, **result})
        for path, result in finished
        if path in classifiers or is_tested_job(path, result)
    ]
    if tested:
        return tested, CROSS_VALIDATED if is_in_folds else "test accuracy"
    pretrainings = [
        (
            path,
            {
                **result,
                "arm": result["method"],
                "test_accuracy": result["knn_accuracy"],
                "pretraining": {"collapsed": result["collapsed"]},
            },
        )
        for path, result in finished
        if result.get("stage") == "pretrain" and path.parent == folder and result["knn_accuracy"] is not None
    ]
    return pretrainings, "kNN accuracy (training labels)"


def _has_folds_alone(result: dict[str, Any]) -> bool:
    """Whether labels were tested in folds, and no test input there was."""
    return result.get("test_accuracy") is None and bool(result.get("folds"))


def _by_folds(result: dict[str, Any]) -> dict[str, Any]:
    """A result with the numbers of its folds in place of those of a test, where it had none."""
    if not _has_folds_alone(result):
        return result
    return {**result, "test_accuracy": result["folds"]["accuracy"], "macro_f1": result["folds"]["macro_f1"]}


def _with_settings(arm: str, settings: dict[str, Any]) -> str:
    from ssl_cli.runs.varying import as_words

    return ", ".join((arm, *as_words(settings)))


def _axis(varied: dict[str, dict[str, Any]], labels: set[int]) -> str | None:
    """What the picture is drawn over: the setting with the most values, if they are numbers or lists."""
    values: dict[str, set[str]] = {}
    for settings in varied.values():
        for key, value in settings.items():
            values.setdefault(key, set()).add(str(value))
    drawable = {
        key: len(found)
        for key, found in values.items()
        if all(_number(settings[key]) is not None for settings in varied.values())
    }
    if len(labels) > 1:
        drawable[LABELS] = len(labels)
    return max(drawable, key=drawable.__getitem__, default=None)


def _axis_name(axis: str, varied: dict[str, dict[str, Any]]) -> str:
    lists = any(isinstance(settings.get(axis), list) for settings in varied.values())
    return f"entries of {axis}" if lists else axis.removeprefix("budget.")


def _number(value: Any) -> float | None:
    """A number as it is, a list by its length, anything else not at all."""
    if isinstance(value, list):
        return len(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _what_varies(folder: Path) -> dict[str, dict[str, Any]]:
    """By job, the settings in which the sweep's jobs differ, but for seed and number of labels, which have columns.

    A schedule and views that were chosen for the data of each job are nothing that the sweep varies.
    """
    import yaml

    from ssl_cli.runs.reading import DamagedError
    from ssl_cli.runs.sweep_jobs import jobs_of
    from ssl_cli.runs.varying import what_varies

    varied = what_varies(
        {path.parent.name: yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*/config.yaml"))}
    )
    try:
        swept = {word.partition("=")[0].lstrip("+").partition(".")[0] for job in jobs_of(folder) for word in job.words}
    except DamagedError:
        return varied
    followed = {"schedule", "augment"} - swept if swept and "experiment" not in swept else set()
    return {
        job: {key: value for key, value in settings.items() if key.partition(".")[0] not in followed}
        for job, settings in varied.items()
    }
