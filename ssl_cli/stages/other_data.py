"""Another test set than that of the data set that a classifier was trained on."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ssl_cli.config.schema import DatasetComponent
from ssl_cli.data.dataset import load
from ssl_cli.data.text.tokenizer import rewritten
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.data.types import UNKNOWN, Dataset, Inputs, as_texts
from ssl_cli.errors import ConfigError


@dataclass(frozen=True)
class Other:
    """Its test inputs as the classifier takes them, with the numbers that its own classes have.

    spoken: uint8 (N,), of `languages`; None where nothing says which text is in which.
    caveats: what a reader of the numbers should know.
    """

    name: str
    inputs: Inputs
    labels: Tensor
    spoken: Tensor | None = None
    languages: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()


def fitting(settings: DatasetComponent, dataset: Dataset, run: Path) -> Other:
    """The test inputs of other data. Texts are tokenised anew, and their classes are those with the same names.

    Args:
        settings: of the other data.
        dataset: that of the classifier.
        run: its folder, for messages.

    Raises:
        ConfigError: they do not fit.
    """
    other = load(settings)
    if dataset.vocabulary is not None and other.vocabulary is not None:
        return _texts(settings.name, other, other.vocabulary, dataset, dataset.vocabulary, run)
    if (other.form, len(other.classes)) != (dataset.form, len(dataset.classes)):
        said = [f"{len(d.classes)} classes and {d.described()}" for d in (other, dataset)]
        raise ConfigError(
            f"dataset@stage.other={settings.name}: has {said[0]}; stage.run={run} was trained on "
            f"dataset={dataset.name} with {said[1]}"
        )
    return Other(settings.name, other.test.inputs, other.test.labels)


def _texts(name: str, other: Dataset, theirs: Vocabulary, dataset: Dataset, own: Vocabulary, run: Path) -> Other:
    asked = f"dataset@stage.other={name}"
    strange = [language for language in theirs.languages or ("",) if own.languages and language not in own.languages]
    if strange:
        said = (
            f"has texts in {', '.join(strange)}" if theirs.languages else "does not say in which language its texts are"
        )
        raise ConfigError(f"{asked}: {said}; stage.run={run} was trained on texts in {', '.join(own.languages)}")
    numbers = {each: number for number, each in enumerate(dataset.classes)}
    moved = torch.tensor([numbers.get(each, UNKNOWN) for each in other.classes])
    labels = moved[other.test.labels]
    known = (labels != UNKNOWN).nonzero()[:, 0]
    if not len(known):
        raise ConfigError(
            f"{asked}: has no class with the name of one that stage.run={run} knows, which are {', '.join(dataset.classes)}"
        )
    texts = as_texts(other.test.inputs)[known]
    left_out = len(labels) - len(known)
    caveats = [
        f"{left_out:,} of {len(labels):,} texts of {name} are of classes that training did not have, and are left out"
    ]
    return Other(
        name,
        rewritten(texts, theirs, own, lambda text: text),
        labels[known],
        texts.languages,
        theirs.languages,
        tuple(caveats) if left_out else (),
    )
