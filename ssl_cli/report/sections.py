"""Runs that may be set beside each other: of the same data, tested on as many inputs, each arm called by what tells it apart."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ssl_cli.report import arms, table
from ssl_cli.report.found_runs import FinishedRun
from ssl_cli.report.settings_of_arms import settings_of_arms, with_settings
from ssl_cli.runs.reading import moment, number
from ssl_cli.runs.varying import LABELS

TESTED = "test accuracy"
CROSS_VALIDATED = "cross-validated accuracy"
NEIGHBOURS = "kNN accuracy (training labels)"
NOT_SAID = dict.fromkeys(("pretraining", "backbone_parameters", "images_per_second"))  # by every stage


@dataclass(frozen=True)
class Counted:
    """A run in a table: `result` has its numbers as the table shows them, with the name of its arm."""

    run: FinishedRun
    result: dict[str, Any]


@dataclass(frozen=True)
class Section:
    """Runs whose accuracies may be set beside each other and averaged.

    dataset: its name; root: where it lies, if it is a person's own.
    test_inputs: on how many all were tested; None where that is not known.
    measure: what the accuracies are.
    counted: the runs.
    rows: of `table.rows`; where there is an axis, each with the `line` that it is on, and its place `x`.
    axis: the setting that a picture is drawn over, if any, and `axis_name` what it is called there.
    replaced: runs that do not count since a later one has the same arm, labels and seed.
    """

    dataset: str
    root: str
    test_inputs: int | None
    measure: str
    counted: tuple[Counted, ...]
    rows: list[dict[str, Any]]
    axis: str | None
    axis_name: str
    replaced: int

    @property
    def title(self) -> str:
        """The data, and how much of it accuracies are of."""
        where = f" in {self.root}" if self.root else ""
        tested = "" if self.test_inputs is None else f", {self.test_inputs:,} test inputs"
        return f"{self.dataset}{where}{tested}"

    @property
    def sound_rows(self) -> list[dict[str, Any]]:
        """Those whose pre-training did not collapse."""
        return [row for row in self.rows if not row["collapsed"]]

    @property
    def colours(self) -> dict[str, str]:
        """Of each arm, the same in every picture of the section."""
        return arms.colours(row["arm"].removesuffix(arms.COLLAPSED) for row in self.rows)

    @property
    def has_label_curve(self) -> bool:
        """Whether arms can be compared by labels: over several numbers of them, with a rival and others."""
        rows = self.sound_rows
        tried = {arm: {row["labels"] for row in rows if row["arm"] == arm} for arm in arms.RIVALS}
        is_tried = any(len(labels) > 1 for labels in tried.values())
        others = any(row["arm"] not in arms.RIVALS for row in rows)
        return self.axis == LABELS and self.measure == TESTED and is_tried and others

    def runs_of(self, arm: str, labels: int) -> list[Counted]:
        """The runs of a row, by seed."""
        found = [one for one in self.counted if one.result["arm"] == arm and one.result["labels"] == labels]
        return sorted(found, key=lambda one: one.result["seed"])


def sections_of(found: Iterable[FinishedRun], ignored: Collection[str] | None = None) -> list[Section]:
    """Runs that have an accuracy, in sections by data and test, in order of appearance; `ignored` as in `settings_of_arms`."""
    groups: dict[tuple[str, str, str], list[Counted]] = {}
    for one in _tested(list(found)):
        measure = one.result["measure"]
        groups.setdefault((one.result["dataset"], _root(one.run), measure), []).append(one)
    return [
        _section(dataset, root, size, measure, part, ignored)
        for (dataset, root, measure), group in groups.items()
        for size, part in _by_test_size(group, measure).items()
    ]


def _section(
    dataset: str,
    root: str,
    size: int | None,
    measure: str,
    counted: Sequence[Counted],
    ignored: Collection[str] | None,
) -> Section:
    settings = settings_of_arms([(one.run, one.result["arm"]) for one in counted], ignored)
    axis = _axis(settings.values(), {one.result["labels"] for one in counted})
    points: dict[str, tuple[str, float | None]] = {}
    named: dict[tuple[Any, ...], Counted] = {}
    for one in sorted(counted, key=lambda one: moment(str(one.result.get("finished")))):
        own, arm = settings[one.run.folder], one.result["arm"]
        others = {key: value for key, value in own.items() if key != axis}
        # How many layers there are to keep may be what the picture is drawn over.
        line = with_settings(arm.partition(",")[0] if "head.keep" in others else arm, others)
        name = with_settings(arm, own)
        points[name] = (line, _number(None if axis is None else own.get(axis)))
        result = {**one.result, "arm": name}
        collapsed = bool((result["pretraining"] or {}).get("collapsed"))
        named[name, result["labels"], result["seed"], collapsed] = replace(one, result=result)
    order = [one.run.folder for one in counted]
    kept = sorted(named.values(), key=lambda one: order.index(one.run.folder))
    rows = arms.in_order(table.rows([one.result for one in kept]))
    if axis is not None:
        for row in rows:
            row["line"], place = points[row["arm"].removesuffix(arms.COLLAPSED)]
            row["x"] = row["labels"] if axis == LABELS else place
    name = "" if axis is None else _axis_name(axis, settings.values())
    return Section(dataset, root, size, measure, tuple(kept), rows, axis, name, replaced=len(counted) - len(kept))


def _tested(found: Sequence[FinishedRun]) -> list[Counted]:
    """The runs that go into tables, with the numbers that these show.

    They are classifiers, and jobs with an accuracy of their own and no classifier inside, or else pre-trainings that are jobs.
    """
    every = [Counted(run, _measured(run.result)) for run in found]
    whole = [one for one in every if one.result.get("fold") is None]  # not the folds of another run
    classifiers = [one for one in whole if one.result["ends_in"] in ("classifier", "regression")]
    outer = {parent for one in classifiers for parent in one.run.folder.parents}
    tested = [
        one
        for one in every
        if None not in (one.result["test_accuracy"], one.result["labels"])
        and (one in classifiers or (one.run.is_job and one.run.folder not in outer and "strengths" not in one.result))
    ]
    if tested:
        return tested
    return [
        Counted(
            run,
            {
                **NOT_SAID,
                **run.result,
                "arm": run.result.get("method") or run.result["arm"],
                "test_accuracy": run.result["knn_accuracy"],
                "pretraining": {"collapsed": run.result.get("collapsed")},
                "measure": NEIGHBOURS,
            },
        )
        for run in found
        if run.result["ends_in"] == "pre-training" and run.is_job and run.result.get("knn_accuracy") is not None
    ]


def _measured(result: dict[str, Any]) -> dict[str, Any]:
    """A result with the numbers of its folds in place of those of a test, where it had none."""
    given = {**NOT_SAID, "test_accuracy": None, "labels": None, **result, "measure": TESTED}
    folds = result.get("folds")
    if given["test_accuracy"] is not None or not folds:
        return given
    return {**given, "test_accuracy": folds["accuracy"], "macro_f1": folds["macro_f1"], "measure": CROSS_VALIDATED}


def _root(run: FinishedRun) -> str:
    """Where data of a person's own lie: under one name there may be any number of them."""
    settings = run.job.settings.get("dataset")
    if not isinstance(settings, dict):
        return ""
    facts = settings.get("facts")
    is_known = isinstance(facts, dict) and number(facts.get("inputs")) is not None
    root = settings.get("root")
    return "" if is_known or not isinstance(root, str) else root


def _by_test_size(group: Sequence[Counted], measure: str) -> dict[int | None, list[Counted]]:
    """By the number of test inputs; runs that do not say it are with the others where these agree.

    In folds, what is tested is the labels.
    """
    sizes = {one.run.folder: _test_inputs(one.result) if measure == TESTED else None for one in group}
    known = set(sizes.values()) - {None}
    parts: dict[int | None, list[Counted]] = {}
    for one in group:
        size = sizes[one.run.folder]
        parts.setdefault(next(iter(known)) if size is None and len(known) == 1 else size, []).append(one)
    return parts


def _test_inputs(result: Mapping[str, Any]) -> int | None:
    return sum(one["inputs"] for one in result.get("per_class") or ()) or None


def _axis(settings: Iterable[Mapping[str, Any]], labels: set[int]) -> str | None:
    """What a picture is drawn over: the setting with the most values, if they are numbers or lists."""
    every = list(settings)
    values: dict[str, set[str]] = {}
    for own in every:
        for key, value in own.items():
            values.setdefault(key, set()).add(str(value))
    drawable = {
        key: len(found)
        for key, found in values.items()
        if len(found) > 1 and all(_number(own.get(key)) is not None for own in every)
    }
    if len(labels) > 1:
        drawable[LABELS] = len(labels)
    return max(drawable, key=drawable.__getitem__, default=None)


def _axis_name(axis: str, settings: Iterable[Mapping[str, Any]]) -> str:
    lists = any(isinstance(own.get(axis), list) for own in settings)
    return f"entries of {axis}" if lists else axis.removeprefix("budget.")


def _number(value: Any) -> float | None:
    """A number as it is, a list by its length, anything else not at all."""
    return len(value) if isinstance(value, list) else number(value)
