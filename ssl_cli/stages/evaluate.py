"""Finished classifiers on corrupted test inputs."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ssl_cli.augment.corruptions import CORRUPTIONS
from ssl_cli.augment.views import encode
from ssl_cli.config.build import plain
from ssl_cli.config.schema import Config
from ssl_cli.data.dataset import load
from ssl_cli.data.types import Dataset, Plain, Split, as_tensor, fingerprint
from ssl_cli.errors import ConfigError
from ssl_cli.methods.networks import count_parameters
from ssl_cli.randomness import generator
from ssl_cli.report import pictures, plots, table
from ssl_cli.runs.files import quoted, short
from ssl_cli.runs.finished import settings_of
from ssl_cli.runs.identity import identity
from ssl_cli.runs.result import Result, finished_result, read_result
from ssl_cli.runs.run import Run
from ssl_cli.stages.evaluate_settings import EvaluateStage
from ssl_cli.stages.networks import classifier_of, plain_of
from ssl_cli.stages.simclr_v2 import named
from ssl_cli.training.device import Machine, machine_of
from ssl_cli.training.evaluate import BATCH, class_accuracy, outputs

log = logging.getLogger("ssl_cli")


@dataclass(frozen=True)
class Trained:
    """A finished classifier: its folder, its settings, its numbers."""

    folder: Path
    config: Config
    result: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class EvaluateResult(Result):
    """Of an evaluation: `rows` has one an arm, `runs` one a classifier, with an accuracy for each of the `strengths`."""

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
    found = list(_classifiers(stage.run))
    dataset = load(found[0].config.dataset)
    if dataset.vocabulary is not None:
        raise ConfigError(
            f"stage.run={stage.run}: was trained on dataset={dataset.name}, which has texts; the corruptions are of images"
        )
    other = load(stage.other) if stage.other else None
    if stage.other and other:
        _check_fit(stage, stage.other.name, found[0].config, other, dataset)
    strengths = {name: values for name, values in vars(stage.corruptions).items() if values}
    _save_inputs(dataset, strengths, config.seed, run.folder / "inputs.png")
    runs, parameters = [], 0
    for trained in found:
        network = here.place(classifier_of(trained.folder, trained.config, dataset))
        scale, seen = trained.config.augment.scale or 1.0, plain_of(trained.config, dataset)
        parameters = count_parameters(network.backbone)
        corruptions = {
            name: [
                _accuracy(network, dataset.test, name, strength, scale, seen, config.seed, here) for strength in values
            ]
            for name, values in strengths.items()
        }
        if stage.other and other:
            corruptions[stage.other.name] = [class_accuracy(network, other.test, seen, here)]
        clean = class_accuracy(network, dataset.test, seen, here)
        runs.append(_record(trained, clean, corruptions))
        log.info(
            "%s, seed %s: clean %.1f %%; %s",
            trained.result["arm"], trained.result["seed"], 100 * clean,
            ", ".join(f"{name} {100 * sum(of) / len(of):.1f}" for name, of in corruptions.items()),
        )  # fmt: skip
    rows = table.corruption_rows(runs)
    plots.save_corruptions(rows, strengths, run.folder / "corruptions.png")
    last = found[-1]
    return run.finish(
        EvaluateResult(
            identity=identity(
                {
                    "stage": {key: value for key, value in plain(stage).items() if key not in ("run", "other")},
                    "runs": [trained.result["identity"] for trained in found],
                    "other": None if other is None else fingerprint(other.test.inputs, other.test.labels),
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
            strengths=strengths,
            rows=rows,
            runs=runs,
        )
    )


def _classifiers(folder: Path) -> Iterator[Trained]:
    """The run itself, or every arm of every seed of a comparison, in the order of its table.

    Raises:
        ConfigError: it is neither, or not finished.
    """
    if not (folder / "config.yaml").exists():
        raise ConfigError(f"stage.run={folder}: is no run's folder; it must be that of a finished run or comparison")
    whole = read_result(folder)
    if whole is None or whole.get("ends_in") != "comparison":
        own = settings_of("stage.run", folder, "classifier", "comparison")  # raises where it is not finished
        yield Trained(folder, own, finished_result(folder))
        return
    inside = [path.parent for path in sorted(folder.glob("seed*/*/result.json"))]
    arms = []
    for path in inside:
        result = finished_result(path)
        if result.get("ends_in") == "classifier":
            result = named(result, path.name) if whole["stage"] == "simclr_v2" else result
            arms.append(Trained(path, settings_of("stage.run", path, "classifier"), result))
    order = [row["arm"].removesuffix(table.COLLAPSED) for row in whole["rows"]]
    yield from sorted(arms, key=lambda arm: (order.index(arm.result["arm"]), arm.result["seed"]))


def _check_fit(stage: EvaluateStage, name: str, theirs: Config, other: Dataset, dataset: Dataset) -> None:
    if (other.form, len(other.classes)) != (dataset.form, len(dataset.classes)):
        said = [f"{len(d.classes)} classes and {d.described()}" for d in (other, dataset)]
        raise ConfigError(
            f"dataset@stage.other={name}: has {said[0]}; stage.run={stage.run} was trained on "
            f"dataset={theirs.dataset.name} with {said[1]}"
        )


def _accuracy(
    network: nn.Module, split: Split, name: str, strength: float, scale: float, plain: Plain, seed: int, here: Machine
) -> float:
    """Accuracy on a corrupted split, which is corrupted batch by batch so that memory does not grow with N."""
    right = 0
    for part in range(0, len(split), BATCH):
        images = encode(as_tensor(split.inputs[part : part + BATCH]).to(here.device), 1.0)
        corrupted = CORRUPTIONS[name](images, strength, generator(seed, f"shift {name}", part))
        answers = outputs(network, corrupted * scale, plain, here).argmax(1)
        right += int((answers == split.labels[part : part + BATCH]).sum())
    return right / len(split)


def _record(trained: Trained, clean: float, corruptions: dict[str, list[float]]) -> dict[str, Any]:
    kept = {key: trained.result[key] for key in ("arm", "labels", "seed", "run_id")}
    start = trained.result["pretraining"]
    accuracies = {name: [round(value, 6) for value in values] for name, values in corruptions.items()}
    return {
        **kept,
        "collapsed": bool(start and start["collapsed"]),
        "folder": short(trained.folder),
        "clean": round(clean, 6),
        "corruptions": accuracies,
    }


def _save_inputs(dataset: Dataset, strengths: dict[str, list[float]], seed: int, path: Path) -> None:
    """Two test inputs, clean and at each strength, one row per corruption."""
    images = encode(as_tensor(dataset.test.inputs[:2]), 1.0)
    longest = 1 + max(map(len, strengths.values()))
    rows = {}
    for name, values in strengths.items():
        seen = [
            images,
            *(CORRUPTIONS[name](images, strength, generator(seed, f"shift {name}", 0)) for strength in values),
        ]
        rows[name] = F.pad(torch.stack(seen, dim=1), (0, 0, 0, 0, 0, 0, 0, longest - len(seen)), value=1.0).flatten(
            0, 1
        )
    pictures.save_rows(rows, path)


def closing(result: dict[str, Any], run: Run) -> None:
    """A line an arm."""
    table.show_corruptions(result["rows"], f"{result['dataset']}, corrupted")
    place = quoted(run.folder)
    log.info("%s. Pictures: %s/corruptions.png and inputs.png (%.0f s)", result["protocol"], place, result["seconds"])
