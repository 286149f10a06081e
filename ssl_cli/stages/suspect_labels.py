"""Labels of the budget that look wrong: `suspect_labels.csv` and, of images, `suspect_labels.png`."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_cli.config.schema import Config
from ssl_cli.data.budget import Chosen, drawn
from ssl_cli.data.folds import folds_of, groups_of, independent_labels
from ssl_cli.data.types import Dataset
from ssl_cli.models.huggingface.reading import is_folder
from ssl_cli.report.contact_sheet import save_contact_sheet
from ssl_cli.runs.files import as_csv, write
from ssl_cli.runs.result import read_result
from ssl_cli.stages.networks import fresh_backbone, plain_of, pretrained_backbone
from ssl_cli.stages.one_input import has_pictures, name_of, picture_of, text_of
from ssl_cli.training.device import Machine
from ssl_cli.training.evaluate import outputs
from ssl_cli.training.label_errors import likely_classes, out_of_fold_probabilities

log = logging.getLogger("ssl_cli")

EXAMINED = 5000  # labels by features, which takes seconds
FOLDS = 5
SHOWN = 40  # in the picture
# The share of labels it must agree with for its doubts to count; below that most of them are its own mistakes.
KNOWS_ENOUGH = 0.7
FEATURES = "pre-trained features"


def save_suspect_labels(
    config: Config, folder: Path, dataset: Dataset, chosen: Chosen, here: Machine, *starts_from: Path | None
) -> dict[str, Any] | None:
    """Examine labels by a logistic regression on features that know none of them; as `write_suspects`, or None.

    The features are those of the pre-training that the run starts from, or of published weights; without either nothing is
    written, since random features know too little. A class with one label is not examined.

    Args:
        config: of the run.
        folder: of the run.
        dataset, chosen: its data and its labels.
        here: the machine.
        starts_from: folders of the runs whose weights it begins with or learns from.
    """
    start = next((one for one in starts_from if one is not None and _knows_no_labels(one)), None)
    backbone = fresh_backbone(config, dataset) if start is None else pretrained_backbone(config, dataset, start)
    if start is None and not getattr(backbone, "is_published", False):
        return None
    items, fold = _in_folds(dataset, chosen.all, config.seed)
    if not len(items):
        return {"found": 0, "examined": 0, "by": FEATURES, "agreement": None}
    features = outputs(here.place(backbone), dataset.train.inputs[items], plain_of(config, dataset), here)
    there, numbers = dataset.train.labels[items].unique(return_inverse=True)
    probabilities = torch.zeros(len(items), len(dataset.classes), dtype=torch.float64)
    probabilities[:, there] = out_of_fold_probabilities(features, numbers, fold)
    return write_suspects(folder, dataset, items, probabilities, len(chosen), FEATURES)


def write_suspects(
    folder: Path, dataset: Dataset, items: Tensor, probabilities: Tensor, labels: int, by: str
) -> dict[str, Any]:
    """Write the labels that look wrong, the most certain first; `found`, how many of `examined`, `by` what, and its
    `agreement`: the share of labels that it would give too. Where that is low, it knows too little to doubt any.

    Args:
        folder: of the run.
        dataset: with the training inputs.
        items: int64 (N,), those that were examined.
        probabilities: float (N, classes), by what did not see their labels.
        labels: how many there are.
        by: what gave the probabilities.
    """
    if len(items) < labels:
        log.info("Note: of %s labels, %s were examined for mistakes.", f"{labels:,}", f"{len(items):,}")
    given = dataset.train.labels[items]
    likely = likely_classes(probabilities, given)
    sure, own = (probabilities.gather(1, which[:, None])[:, 0] for which in (likely, given))
    suspects = (likely != given).nonzero()[:, 0]
    suspects = suspects[(sure - own)[suspects].argsort(descending=True, stable=True)].tolist()
    files = dataset.files.train if dataset.files else ()
    rows: list[list[object]] = []
    for place in suspects:
        item = int(items[place])
        row = [name_of(item, files), dataset.classes[int(given[place])], dataset.classes[int(likely[place])]]
        text = [text_of(dataset, dataset.train.inputs, item)] if dataset.vocabulary else []
        rows.append([*row, f"{float(sure[place]):.4f}", *text])
    heads = ["input", "given class", "likelier class", "confidence", *(["text"] if dataset.vocabulary else [])]
    write(folder / "suspect_labels.csv", as_csv([heads, *rows]))
    if rows and has_pictures(dataset):
        tiles = [
            (
                picture_of(dataset.train.inputs, int(items[place])),
                f"labelled {row[1]}",
                f"{row[2]}? ({float(sure[place]):.0%})",
            )
            for place, row in zip(suspects[:SHOWN], rows, strict=False)
        ]
        save_contact_sheet(tiles, folder / "suspect_labels.png")
    agreed = float((probabilities.argmax(1) == given).double().mean())
    return {"found": len(rows), "examined": len(items), "by": by, "agreement": round(agreed, 6)}


def in_words(suspects: dict[str, Any] | None) -> str:
    """How many labels look wrong, or how to find out, for one line."""
    if suspects is None:
        return "Labels that look wrong are told by folds (stage.folds=5), or by what a pre-training learnt (stage=finetune)."
    if not suspects["examined"]:
        return "No label could be examined for mistakes, since fewer than two classes have two labels."
    if not suspects["found"]:
        return f"None of {suspects['examined']:,} labels looks wrong, by {suspects['by']}."
    agreement = f"{100 * suspects['agreement']:.0f} % of the labels"
    if suspects["agreement"] < KNOWS_ENOUGH:
        return (
            f"Whether labels look wrong cannot be said: {suspects['by']} agree with {agreement}. Those that they doubt are in "
            "suspect_labels.csv."
        )
    return (
        f"{suspects['found']:,} of {suspects['examined']:,} labels look wrong (suspect_labels.csv), by {suspects['by']}, which "
        f"agree with {agreement}."
    )


def _knows_no_labels(start: Path) -> bool:
    return is_folder(start) or (read_result(start) or {}).get("ends_in") == "pre-training"


def _in_folds(dataset: Dataset, items: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The labels that can be examined, some of them where there are many, and their folds; none where fewer than two classes
    have two labels that do not know each other. A class in a single fold, as cases of several classes make it, is left out:
    without that fold nothing knows it.
    """
    items = drawn(items, EXAMINED, seed)
    labels, groups = dataset.train.labels[items], groups_of(dataset, items)
    counts = {number: count for number, count in independent_labels(labels, groups).items() if count > 1}
    if len(counts) < 2:
        return items[:0], items[:0]
    kept = torch.isin(labels, torch.tensor(list(counts)))
    items, labels, groups = items[kept], labels[kept], groups[kept]
    fold = folds_of(labels, groups, min(FOLDS, *counts.values()), seed)
    spread = [number for number, folds in independent_labels(labels, fold).items() if folds > 1]
    kept = torch.isin(labels, torch.tensor(spread))
    return (items[kept], fold[kept]) if len(spread) > 1 else (items[:0], items[:0])
