"""Finished classifiers on corrupted test inputs, on other data, and in each language."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_cli.config.build import plain
from ssl_cli.config.schema import Config
from ssl_cli.data.budget import choose
from ssl_cli.data.dataset import load
from ssl_cli.data.languages import by_language, label_counts, test_by_language
from ssl_cli.data.measures import confusion, macro_f1
from ssl_cli.data.types import Dataset, Inputs, fingerprint
from ssl_cli.errors import ConfigError
from ssl_cli.report import languages, plots, table
from ssl_cli.runs.files import quoted, short
from ssl_cli.runs.identity import identity
from ssl_cli.runs.result import Result
from ssl_cli.runs.run import Run
from ssl_cli.stages.classifiers import Trained, classifiers
from ssl_cli.stages.corrupted_test import CorruptedTest
from ssl_cli.stages.evaluate_settings import EvaluateStage
from ssl_cli.stages.other_data import Other, fitting
from ssl_cli.stages.translations import read_translations
from ssl_cli.training.device import machine_of

log = logging.getLogger("ssl_cli")


@dataclass(frozen=True, kw_only=True)
class EvaluateResult(Result):
    """Of an evaluation: `rows` has one an arm, `runs` one a classifier, with numbers for each of the `strengths`."""

    strengths: dict[str, list[float]]
    rows: list[dict[str, Any]]
    runs: list[dict[str, Any]]


def evaluate(config: Config, run: Run) -> dict[str, Any]:
    """Test each of the classifiers on clean and on corrupted inputs; the numbers of the run.

    Raises:
        ConfigError: there is no finished classifier, or the other data do not fit it.
    """
    if run.result:
        return run.result
    here = machine_of(run, config.runtime)
    stage = config.stage_as(EvaluateStage)
    if stage.run is None:
        raise ValueError("stage.run must be given")
    found = list(classifiers(stage.run))
    dataset = load(found[0].config.dataset)
    if not len(dataset.test):
        raise ConfigError(f"stage.run={stage.run}: its data set has no test inputs, which are what is corrupted here")
    key = "corruptions" if dataset.vocabulary is None else "text_corruptions"
    strengths = {name: values for name, values in vars(getattr(stage, key)).items() if values}
    corrupted = CorruptedTest(dataset, strengths, config.seed, here.device)
    other = fitting(stage.other, dataset, stage.run) if stage.other else None
    pairs = read_translations(stage.translations, dataset) if stage.translations else None
    corrupted.save_picture(run.folder / "inputs.png")
    runs, parameters = [], 0
    for trained in found:
        answer, parameters = trained.answers(dataset, here)
        scores = {
            name: [
                _measures(torch.cat([answer(part) for part in corrupted.parts(name, strength)]), dataset)
                for strength in values
            ]
            for name, values in strengths.items()
        }
        runs.append(_record(trained, dataset, answer, scores, other))
        one = runs[-1]
        if pairs and (features := trained.features(dataset, here)):
            one["translations"] = pairs.found(features)
        log.info(
            "%s, seed %s: clean %.1f %%; %s",
            one["arm"], one["seed"], 100 * one["clean"],
            ", ".join(f"{name} {100 * sum(of) / len(of):.1f}" for name, of in one["corruptions"].items()),
        )  # fmt: skip
    rows = table.corruption_rows(runs)
    plots.save_corruptions(rows, strengths, run.folder / "corruptions.png")
    if rows[0].get("languages"):
        languages.save(rows, run.folder / "languages.png")
    last = found[-1]
    return run.finish(
        EvaluateResult(
            identity=identity(
                {
                    "stage": {name: plain(stage)[name] for name in ("name", key)},
                    "runs": [trained.result["identity"] for trained in found],
                    "other": None if other is None else fingerprint(other.inputs, other.labels),
                    **({} if pairs is None else {"translations": pairs.hash}),
                    "seed": config.seed,
                    "precision": here.precision,
                }
            ),
            dataset=last.config.dataset.name,
            backbone=last.config.backbone.name,
            backbone_parameters=parameters,
            labels=last.result["labels"],
            test_accuracy=rows[-1]["clean"]["mean"],
            images_per_second=None,
            environment=here.environment(),
            protocol="test inputs read again, corrupted; nothing selected on them",
            caveats=[*corrupted.caveats(), *(other.caveats if other else ())],
            strengths=strengths,
            rows=rows,
            runs=runs,
        )
    )


def _measures(predicted: Tensor, dataset: Dataset, labels: Tensor | None = None) -> dict[str, float]:
    """Accuracy and macro-F1 of the test, or of inputs with these labels."""
    labels = dataset.test.labels if labels is None else labels
    counts = confusion(predicted, labels, len(dataset.classes))
    return {"accuracy": round(int(counts.diagonal().sum()) / len(labels), 6), "macro_f1": round(macro_f1(counts), 6)}


def _record(
    trained: Trained,
    dataset: Dataset,
    answer: Callable[[Inputs], Tensor],
    scores: dict[str, list[dict[str, float]]],
    other: Other | None,
) -> dict[str, Any]:
    """The numbers of one classifier, with those of clean inputs, of other data and of languages."""
    kept = {key: trained.result[key] for key in ("arm", "labels", "seed", "run_id")}
    start = trained.result["pretraining"]
    predicted = answer(dataset.test.inputs)
    clean = _measures(predicted, dataset)
    items = choose(dataset, trained.config.budget, trained.config.seed).all
    spoken = test_by_language(dataset, predicted, items)
    found: dict[str, Any] = {} if spoken is None else {"languages": spoken}
    if other:
        theirs = answer(other.inputs)
        scores = {**scores, other.name: [_measures(theirs, dataset, other.labels)]}
        if other.spoken is not None:
            taught = label_counts(dataset, items)
            own = {f"{other.name}: {name}": count for name, count in taught.items()}
            names = tuple(f"{other.name}: {name}" for name in other.languages)
            found["languages"] = {**(spoken or {}), **by_language(theirs, other.labels, other.spoken, names, own)}
    return {
        **kept,
        "collapsed": bool(start and start["collapsed"]),
        "folder": short(trained.folder),
        "clean": clean["accuracy"],
        "corruptions": {name: [score["accuracy"] for score in of] for name, of in scores.items()},
        "macro_f1": {
            "clean": clean["macro_f1"],
            "corruptions": {name: [score["macro_f1"] for score in of] for name, of in scores.items()},
        },
        **found,
    }


def closing(result: dict[str, Any], run: Run) -> None:
    """A line an arm."""
    table.show_corruptions(result["rows"], f"{result['dataset']}, corrupted")
    table.show_languages(result["rows"], result["dataset"])
    table.show_translations(result["rows"], result["dataset"])
    for caveat in result["caveats"]:
        log.info("Note: %s.", caveat)
    place = quoted(run.folder)
    log.info("%s. Pictures: %s/corruptions.png and inputs.png (%.0f s)", result["protocol"], place, result["seconds"])
