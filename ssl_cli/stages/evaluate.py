"""Finished classifiers on corrupted test inputs, on other data, and in each language."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.augment import corruptions, text_corruptions
from ssl_cli.augment.views import encode
from ssl_cli.config.build import plain
from ssl_cli.config.schema import Config
from ssl_cli.data.budget import choose
from ssl_cli.data.dataset import load
from ssl_cli.data.languages import by_language, label_counts, test_by_language
from ssl_cli.data.measures import confusion, macro_f1
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.tokens import Tokens
from ssl_cli.data.types import Dataset, Inputs, as_tensor, as_texts, fingerprint
from ssl_cli.randomness import generator
from ssl_cli.report import languages, pictures, plots, table
from ssl_cli.report.texts import save_texts
from ssl_cli.runs.files import quoted, short
from ssl_cli.runs.identity import identity
from ssl_cli.runs.result import Result
from ssl_cli.runs.run import Run
from ssl_cli.stages.classifiers import Trained, classifiers
from ssl_cli.stages.evaluate_settings import EvaluateStage
from ssl_cli.stages.other_data import Other, fitting
from ssl_cli.training.device import machine_of
from ssl_cli.training.evaluate import BATCH

log = logging.getLogger("ssl_cli")

Corrupt = Callable[[Any, str, float, torch.Generator], Inputs]
Strengths = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class EvaluateResult(Result):
    """Of an evaluation: `rows` has one an arm, `runs` one a classifier, with numbers for each of the `strengths`."""

    strengths: Strengths
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
    key, corrupt = _corruptions(dataset)
    strengths = {name: values for name, values in vars(getattr(stage, key)).items() if values}
    other = fitting(stage.other, dataset, stage.run) if stage.other else None
    _save_inputs(dataset, corrupt, strengths, config.seed, run.folder / "inputs.png")
    runs, parameters = [], 0
    for trained in found:
        answer, parameters = trained.answers(dataset, here)

        def corrupted(name: str, strength: float, answer: Any = answer) -> dict[str, float]:
            parts = _corrupted(dataset, corrupt, name, strength, config.seed, here.device)
            return _measures(torch.cat([answer(part) for part in parts]), dataset.test.labels, len(dataset.classes))

        scores = {name: [corrupted(name, strength) for strength in values] for name, values in strengths.items()}
        runs.append(_record(trained, dataset, answer, scores, other))
        one = runs[-1]
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
            caveats=[*_without_effect(dataset, corrupt, strengths, config.seed), *(other.caveats if other else ())],
            strengths=strengths,
            rows=rows,
            runs=runs,
        )
    )


def _corruptions(dataset: Dataset) -> tuple[str, Corrupt]:
    """The setting with the strengths of what corrupts such inputs, and that itself."""
    if dataset.vocabulary is None:
        return "corruptions", corruptions.corrupted
    return "text_corruptions", partial(text_corruptions.corrupted, dataset.vocabulary)


def _corrupted(
    dataset: Dataset, corrupt: Corrupt, name: str, strength: float, seed: int, device: torch.device
) -> Iterator[Inputs]:
    """The test inputs, corrupted batch by batch so that memory does not grow with N."""
    inputs = dataset.test.inputs
    for first in range(0, len(inputs), BATCH):
        part = inputs[first : first + BATCH]
        part = part.to(device) if isinstance(part, Tensor) else part
        yield corrupt(part, name, strength, generator(seed, f"shift {name}", first))


def _without_effect(dataset: Dataset, corrupt: Corrupt, strengths: Strengths, seed: int) -> list[str]:
    """What is to be said of corruptions of texts that a tokenizer does not see."""
    if not isinstance(dataset.test.inputs, Tokens):
        return []
    clean, here = dataset.test.inputs, torch.device("cpu")
    unseen: list[str] = []
    for name, values in strengths.items():
        parts = zip(clean.split(BATCH), _corrupted(dataset, corrupt, name, max(values), seed, here), strict=True)
        if all(torch.equal(before.packed().flat, as_texts(after).flat) for before, after in parts):
            unseen.append(name)
    return [f"the tokenizer ignores {', '.join(unseen)}: no token of a test text changes by it"] if unseen else []


def _measures(predicted: Tensor, labels: Tensor, classes: int) -> dict[str, float]:
    counts = confusion(predicted, labels, classes)
    right = int(counts.diagonal().sum()) / len(labels)
    return {"accuracy": round(right, 6), "macro_f1": round(macro_f1(counts), 6)}


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
    clean = _measures(predicted, dataset.test.labels, len(dataset.classes))
    items = choose(dataset, trained.config.budget, trained.config.seed).all
    spoken = test_by_language(dataset, predicted, items)
    found: dict[str, Any] = {} if spoken is None else {"languages": spoken}
    if other:
        theirs = answer(other.inputs)
        scores = {**scores, other.name: [_measures(theirs, other.labels, len(dataset.classes))]}
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


def _save_inputs(dataset: Dataset, corrupt: Corrupt, strengths: Strengths, seed: int, path: Path) -> None:
    """Two test images, clean and at each strength, one row per corruption; or a test text, a line per corruption and strength."""

    def each(inputs: Inputs, name: str) -> Iterator[Inputs]:
        return (corrupt(inputs, name, strength, generator(seed, f"shift {name}", 0)) for strength in strengths[name])

    if dataset.vocabulary is not None:
        text, known = as_texts(dataset.test.inputs)[:1], dataset.vocabulary
        lines = [("clean", texts_of(known, text)[0])]
        for name, values in strengths.items():
            for strength, changed in zip(values, each(text, name), strict=True):
                lines.append((f"{name} {strength:g}", texts_of(known, as_texts(changed))[0]))
        save_texts(lines, path)
        return
    images = encode(as_tensor(dataset.test.inputs[:2]), 1.0)
    longest = 1 + max(map(len, strengths.values()))
    rows = {}
    for name in strengths:
        seen = list(map(as_tensor, chain([images], each(images, name))))
        rows[name] = F.pad(torch.stack(seen, dim=1), (0, 0, 0, 0, 0, 0, 0, longest - len(seen)), value=1.0).flatten(
            0, 1
        )
    pictures.save_rows(rows, path)


def closing(result: dict[str, Any], run: Run) -> None:
    """A line an arm."""
    table.show_corruptions(result["rows"], f"{result['dataset']}, corrupted")
    table.show_languages(result["rows"], result["dataset"])
    for caveat in result["caveats"]:
        log.info("Note: %s.", caveat)
    place = quoted(run.folder)
    log.info("%s. Pictures: %s/corruptions.png and inputs.png (%.0f s)", result["protocol"], place, result["seconds"])
