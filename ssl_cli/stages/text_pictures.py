"""Pictures of a pre-training on texts: how long they are, and which are near each other by its features. For display only."""

import torch
import torch.nn.functional as F
from torch import nn

from ssl_cli.config.schema import Config
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.tokens import Tokens
from ssl_cli.data.types import UNKNOWN, Dataset, Split, as_texts
from ssl_cli.report import plots
from ssl_cli.report.figure import optional
from ssl_cli.report.texts import save_texts
from ssl_cli.runs.run import Run
from ssl_cli.stages.networks import plain_of, views_of
from ssl_cli.training.device import Machine
from ssl_cli.training.evaluate import outputs

ASKED, NEAREST = 6, 3  # test texts, and training texts near each
BANK = 2000  # training texts that can be near


@optional
def save_lengths(config: Config, dataset: Dataset, run: Run) -> None:
    """`lengths.png`: how long training texts are, and where the views of pre-training and of training on labels cut them."""
    if not isinstance(dataset.train.inputs, Tokens):
        return
    views = {part: views_of(config, dataset, part) for part in ("pretrain", "supervised")}
    cuts = {f"augment.{part}.max_length": of.max_length for part, of in views.items() if hasattr(of, "max_length")}
    plots.save_lengths(dataset.train.inputs.lengths + 2, cuts, run.folder / "lengths.png")


@optional
def save_nearest(config: Config, dataset: Dataset, backbone: nn.Module, here: Machine, run: Run) -> None:
    """`nearest.png`: test texts, each above the training texts whose features have the largest cosine with its own."""
    if not isinstance(dataset.train.inputs, Tokens) or not len(dataset.test):
        return
    plain = plain_of(config, dataset)
    asked, bank = _spaced(dataset.test, ASKED), _spaced(dataset.train, BANK)
    theirs, own = (F.normalize(outputs(backbone, split.inputs, plain, here), dim=1) for split in (bank, asked))
    cosines, items = (own @ theirs.T).topk(min(NEAREST, len(bank)), dim=1)
    rows: list[tuple[str, str]] = []
    for text, near, found in zip(_shown(dataset, asked), cosines.tolist(), items, strict=True):
        rows.append(("test text", text))
        said = _shown(dataset, Split(bank.inputs[found], bank.labels[found]))
        rows += [(f"cosine {cosine:.2f}", one) for cosine, one in zip(near, said, strict=True)]
    save_texts(rows, run.folder / "nearest.png")


def _spaced(split: Split, count: int) -> Split:
    items = torch.linspace(0, len(split) - 1, min(count, len(split))).long()
    return Split(split.inputs[items], split.labels[items])


def _shown(dataset: Dataset, split: Split) -> list[str]:
    """Texts with the names of their classes, where these are known."""
    if dataset.vocabulary is None:
        raise TypeError("images are no texts")
    texts = texts_of(dataset.vocabulary, as_texts(split.inputs))
    labels = ["" if label == UNKNOWN else f"[{dataset.classes[label]}] " for label in split.labels.tolist()]
    return [label + text for label, text in zip(labels, texts, strict=True)]
