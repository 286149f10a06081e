"""Test inputs that a classifier gets wrong, each with the labelled input most like it: `mistakes.csv` and `mistakes.png`."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from ssl_cli.data.budget import Chosen
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.types import Dataset, Inputs, Plain, as_texts
from ssl_cli.report.contact_sheet import picture_of, save_contact_sheet
from ssl_cli.runs.files import as_csv, write
from ssl_cli.training.device import Machine
from ssl_cli.training.evaluate import nearest, outputs

COMPARED = 1000  # mistakes, the most certain ones, and labelled inputs that are compared with each other
SHOWN = 16  # pairs in the picture
LENGTH = 200  # letters of a text in the table


def save_mistakes(
    dataset: Dataset, chosen: Chosen, answers: Tensor, backbone: nn.Module, plain: Plain, here: Machine, folder: Path
) -> None:
    """Write the test inputs that are wrong, the most certain first; nothing where none is.

    Args:
        dataset: with the test inputs.
        chosen: the labels that were seen.
        answers: logits of the test inputs, (N, classes).
        backbone: whose features say which labelled input is most like each, by cosine.
        plain: inputs as evaluation sees them.
        here: the machine.
        folder: of the run.
    """
    probabilities, predicted = answers.softmax(1).max(1)
    wrong = (predicted != dataset.test.labels).nonzero()[:, 0]
    if not len(wrong):
        return
    items = wrong[probabilities[wrong].argsort(descending=True, stable=True)]
    likest = _most_similar(dataset, chosen, items[:COMPARED], backbone, plain, here).tolist()
    files, texts = dataset.files, dataset.vocabulary is not None
    train_names = files.train if files else ()
    test_names = files.test if files else ()
    rows: list[list[object]] = []
    for number, item in enumerate(items.tolist()):
        true, said = dataset.classes[int(dataset.test.labels[item])], dataset.classes[int(predicted[item])]
        row: list[object] = [test_names[item] if test_names else item, true, said, f"{float(probabilities[item]):.4f}"]
        if number < len(likest):
            row += [train_names[likest[number]] if train_names else likest[number], _class_of(dataset, likest[number])]
        else:
            row += ["", ""]
        rows.append([*row, *([_text(dataset, dataset.test.inputs, item)] if texts else [])])
    heads = ["test input", "true", "predicted", "probability", "most similar labelled input", "its class"]
    write(folder / "mistakes.csv", as_csv([[*heads, *(["text"] if texts else [])], *rows]))
    if not texts:
        _save_picture(dataset, items.tolist(), rows, likest, folder / "mistakes.png")


def _most_similar(
    dataset: Dataset, chosen: Chosen, items: Tensor, backbone: nn.Module, plain: Plain, here: Machine
) -> Tensor:
    """The labelled training item that is most like each of these test items: int64 (N,)."""
    bank = chosen.all[torch.linspace(0, len(chosen) - 1, min(len(chosen), COMPARED)).long()]
    own = outputs(backbone, dataset.test.inputs[items], plain, here)
    return bank[nearest(own, outputs(backbone, dataset.train.inputs[bank], plain, here))]


def _class_of(dataset: Dataset, item: int) -> str:
    return dataset.classes[int(dataset.train.labels[item])]


def _text(dataset: Dataset, inputs: Inputs, item: int) -> str:
    if dataset.vocabulary is None:
        raise TypeError("images are no texts")
    return texts_of(dataset.vocabulary, as_texts(inputs)[torch.tensor([item])])[0][:LENGTH]


def _save_picture(dataset: Dataset, items: list[int], rows: list[list[object]], likest: list[int], path: Path) -> None:
    """Pairs: the test input with what it is and what was said, and the labelled input that it is most like."""
    tiles: list[tuple[Image.Image, str, str]] = []
    for item, row, like in list(zip(items, rows, likest, strict=False))[:SHOWN]:
        tiles.append(
            (picture_of(dataset.test.inputs, item), f"{row[1]}, taken for", f"{row[2]} ({float(str(row[3])):.0%})")
        )
        tiles.append((picture_of(dataset.train.inputs, like), "most similar label:", _class_of(dataset, like)))
    if dataset.shape[0] in (1, 3):
        save_contact_sheet(tiles, path)
