"""Generated data sets, for tests and examples."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.schema import ImageFacts
from ssl_cli.data.types import UNKNOWN, Dataset, Split, refused_by


def _missing(facts: ImageFacts, *keys: str) -> Iterator[str]:
    for key in keys:
        if getattr(facts, key) is None:
            yield f"dataset.facts.{key}=null: must be given, since the data is made from it"


def _synthetic_problems(facts: ImageFacts) -> Iterator[str]:
    yield from _missing(facts, "inputs", "test", "classes", "shape")
    if facts.cases:
        yield f"dataset.facts.cases={facts.cases}: must be 0, since no inputs that are made here belong together"


def _synthetic_cases_problems(facts: ImageFacts) -> Iterator[str]:
    yield from _missing(facts, "inputs", "test", "classes", "shape", "cases")
    total = (facts.inputs or 0) + (facts.unlabelled or 0)
    if facts.cases is not None and facts.inputs is not None and not 1 <= facts.cases <= total:
        yield f"dataset.facts.cases={facts.cases}: must be in [1, {total}], the number of inputs"


@refused_by(_synthetic_problems)
def synthetic(facts: ImageFacts) -> Dataset:
    """Each class is a fixed pattern with noise. Equal facts give equal data."""
    known, test, classes, shape = facts.inputs, facts.test, facts.classes, facts.shape
    if known is None or test is None or classes is None or shape is None:
        raise ValueError("dataset.facts must all be given, since the data is made from them")
    source = torch.Generator().manual_seed(1)
    channels, height, width = shape
    patterns = torch.rand(classes, channels, height, width, generator=source)

    def split(labelled: int, unlabelled: int) -> Split:
        labels = torch.arange(labelled + unlabelled) % classes
        noise = torch.rand(len(labels), channels, height, width, generator=source)
        inputs = ((0.5 * patterns[labels] + 0.5 * noise) * 255).byte()
        labels[labelled:] = UNKNOWN
        return Split(inputs, labels)

    names = tuple(f"class {number}" for number in range(classes))
    return Dataset(split(known, facts.unlabelled or 0), split(test, 0), names)


@refused_by(_synthetic_cases_problems)
def synthetic_cases(facts: ImageFacts) -> Dataset:
    """Several images of each object, which differ in lighting and position.

    An object is its class's pattern with individual details. Each image of it is shifted by up to two pixels, under uneven
    lighting that is as strong as the object itself. Each test input shows another object. Equal facts give equal data.
    """
    known, test, classes, shape, objects = facts.inputs, facts.test, facts.classes, facts.shape, facts.cases
    if known is None or test is None or classes is None or shape is None or objects is None:
        raise ValueError("dataset.facts must all be given, since the data is made from them")
    total = known + (facts.unlabelled or 0)
    source = torch.Generator().manual_seed(2)
    channels, height, width = shape

    def fields(count: int, cells: int) -> Tensor:
        """Smooth random fields, −1 to 1: (count, C, H, W)."""
        coarse = torch.rand(count, channels, cells, cells, generator=source) * 2 - 1
        return F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)

    patterns = fields(classes, 7)

    def split(cases: Tensor) -> Split:
        labels = torch.arange(int(cases.max()) + 1) % classes
        drawn = 0.7 * patterns[labels] + 0.3 * fields(len(labels), 7)
        moves = torch.randint(-2, 3, (len(cases), 2), generator=source).tolist()
        shots = torch.stack([drawn[case].roll(move, (1, 2)) for case, move in zip(cases.tolist(), moves, strict=True)])
        lit = 0.5 + 0.5 * shots + 0.5 * fields(len(cases), 3)
        return Split((lit.clamp(0, 1) * 255).byte(), labels[cases])

    cases = torch.arange(total) % objects
    train, held_out = split(cases), split(torch.arange(test))
    train.labels[known:] = UNKNOWN
    names = tuple(f"class {number}" for number in range(classes))
    return Dataset(train, held_out, names, cases)
