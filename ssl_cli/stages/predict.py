"""What a finished classifier says of files that belong to no data set."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_cli.config.schema import Config
from ssl_cli.data.images.files import UnreadableError, open_image, read_file, to_eight_bits
from ssl_cli.methods.networks import count_parameters
from ssl_cli.report.contact_sheet import save_contact_sheet
from ssl_cli.runs.files import as_csv, quoted, write
from ssl_cli.runs.identity import identity
from ssl_cli.runs.result import Result, finished_result
from ssl_cli.runs.run import Run
from ssl_cli.stages.calibration import Calibration, read_calibration
from ssl_cli.stages.given_inputs import GivenInputs
from ssl_cli.stages.predict_settings import PredictStage
from ssl_cli.stages.trained import open_classifier
from ssl_cli.training.calibration import calibrated, labels_needed, set_sizes
from ssl_cli.training.device import machine_of

log = logging.getLogger("ssl_cli")

LEAST_CERTAIN = 48  # inputs in the picture or table of those with the least probable answers
UNCALIBRATED = "uncalibrated"


@dataclass(frozen=True, kw_only=True)
class PredictResult(Result):
    """Of predictions.

    inputs: how many were answered; skipped: could not be read; unsure: have not exactly one class in their prediction set, None
        where there is no calibration.
    calibration: in words, or `uncalibrated`; temperature: 1 where there is none.
    predicted: inputs of each predicted class.
    """

    inputs: int
    skipped: int
    unsure: int | None
    calibration: str
    temperature: float
    predicted: dict[str, int]


@dataclass(frozen=True)
class Prediction:
    """One answer, for the list of the least certain."""

    name: str
    label: str
    probability: float
    text: str


def predict(config: Config, run: Run) -> dict[str, Any]:
    """Classify the files and write `predictions.csv`; the numbers of the run.

    Raises:
        ConfigError: there is no finished classifier, or no file that can be read.
    """
    if run.result:
        return run.result
    here = machine_of(run, config.runtime)
    stage = config.stage_as(PredictStage)
    if stage.run is None or stage.inputs is None:
        raise ValueError("stage.run and stage.inputs must be given")
    trained = open_classifier("stage.run", stage.run, lambda _: here)
    calibration = read_calibration("stage.run", stage.run)
    log.info("%s, %s → %s", _described(calibration, stage.confidence), here.described(), quoted(run.folder))
    given = GivenInputs(trained, stage.inputs, stage.column)
    classes = trained.form.classes
    threshold = calibration.threshold(stage.confidence) if calibration else None
    heads = ["path", "class", "probability", "unsure", *(f"p({name})" for name in classes if stage.all_classes)]
    rows: list[list[str]] = [heads]
    counts, unsure = torch.zeros(len(classes), dtype=torch.int64), 0
    least: list[Prediction] = []
    for part in given.parts():
        probabilities = calibrated(trained(part.inputs), calibration.temperature if calibration else 1.0)
        best, labels = probabilities.max(1)
        marks = _marks(probabilities, threshold)
        unsure += marks.count("true")
        counts += labels.bincount(minlength=len(classes))
        every = probabilities.tolist() if stage.all_classes else [[]] * len(labels)
        found = [
            Prediction(name, classes[label], probability, text)
            for name, label, probability, text in zip(
                part.names, labels.tolist(), best.tolist(), part.texts or part.names, strict=True
            )
        ]
        for one, mark, others in zip(found, marks, every, strict=True):
            rows.append([one.name, one.label, f"{one.probability:.6f}", mark, *(f"{p:.6f}" for p in others)])
        least = sorted([*least, *found], key=lambda one: one.probability)[:LEAST_CERTAIN]
    write(run.folder / "predictions.csv", as_csv(rows, "surrogateescape"))
    save_skipped(given.skipped, run.folder)
    _save_least_certain(least, given, run.folder)
    theirs = finished_result(stage.run)
    settings = {"all_classes": stage.all_classes, "confidence": stage.confidence, "column": stage.column}
    return run.finish(
        PredictResult(
            identity=identity(
                {
                    "stage": "predict",
                    **settings,
                    "run": theirs["identity"],
                    "inputs": given.hash,
                    "precision": here.precision,
                }
            ),
            labels=theirs["labels"],
            dataset=trained.config.dataset.name,
            backbone=trained.config.backbone.name,
            backbone_parameters=count_parameters(trained.network.backbone),  # pyright: ignore[reportArgumentType]
            environment=here.environment(),
            inputs=int(counts.sum()),
            skipped=len(given.skipped),
            unsure=unsure if calibration else None,
            calibration=_described(calibration, stage.confidence),
            temperature=calibration.temperature if calibration else 1.0,
            predicted={name: count for name, count in zip(classes, counts.tolist(), strict=True) if count},
        )
    )


def _marks(probabilities: Tensor, threshold: float | None) -> list[str]:
    """Whether each prediction set has another number of classes than one; empty without a calibration."""
    if threshold is None:
        return [""] * len(probabilities)
    return ["false" if size == 1 else "true" for size in set_sizes(probabilities, threshold).tolist()]


def _described(calibration: Calibration | None, confidence: float) -> str:
    if calibration is None:
        return f"{UNCALIBRATED}: the run held out no labels for it (budget.validation=0)"
    count, needed = len(calibration.scores), labels_needed(confidence)
    said = f"probabilities calibrated on {count} validation labels (temperature {calibration.temperature:.3g})"
    if count < needed:
        said += f"; stage.confidence={confidence:g} needs {needed} of them, so every input is unsure"
    return said


def save_skipped(skipped: Sequence[tuple[str, str]], folder: Path) -> None:
    """`skipped.csv`, where something was skipped, and a line that says how many."""
    if not skipped:
        return
    write(folder / "skipped.csv", as_csv([("path", "reason"), *skipped], "surrogateescape"))
    log.warning("%s inputs were skipped; %s says why.", f"{len(skipped):,}", quoted(folder / "skipped.csv"))


def _save_least_certain(least: list[Prediction], given: GivenInputs, folder: Path) -> None:
    """`least_certain.png` of images, `least_certain.csv` of texts."""
    if given.trained.form.vocabulary is not None:
        rows = [[one.name, one.label, f"{one.probability:.6f}", one.text] for one in least]
        heads = ["path", "class", "probability", "text"]
        write(folder / "least_certain.csv", as_csv([heads, *rows], "surrogateescape"))
        return
    tiles = []
    for one in least:
        path = given.paths[one.name]
        try:
            picture = to_eight_bits(open_image(read_file(path), path.suffix))
        except UnreadableError:  # it was there when it was read first
            continue
        tiles.append((picture, f"{one.label} {one.probability:.0%}", one.name))
    if tiles:
        save_contact_sheet(tiles, folder / "least_certain.png")


def closing(result: dict[str, Any], run: Run) -> None:
    """How many of which class, how many unsure, and where it stands."""
    most = sorted(result["predicted"].items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {count:,}" for name, count in most[:10]) + (", …" if len(most) > 10 else "")
    log.info("%s predictions: %s", f"{result['inputs']:,}", shown)
    log.info("%s", str(result["calibration"]).capitalize())
    if result["unsure"] is not None:
        log.info("Unsure: %s of %s", f"{result['unsure']:,}", f"{result['inputs']:,}")
    log.info("In %s: predictions.csv, least_certain (%.0f s)", quoted(run.folder), result["seconds"])
