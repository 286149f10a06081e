"""Generated data sets, for tests and examples."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config.schema import Facts
from ssl_cli.data.types import UNKNOWN, Dataset, Split


def synthetic(facts: Facts) -> Dataset:
    """Each class is a fixed pattern with noise. Equal facts give equal data."""
    if None in (facts.inputs, facts.test, facts.classes, facts.shape):
        raise ValueError("dataset.facts must all be given, since the data is made from them")
    source = torch.Generator().manual_seed(1)
    channels, height, width = facts.shape
    patterns = torch.rand(facts.classes, channels, height, width, generator=source)

    def split(labelled: int, unlabelled: int) -> Split:
        labels = torch.arange(labelled + unlabelled) % facts.classes
        noise = torch.rand(len(labels), channels, height, width, generator=source)
        inputs = ((0.5 * patterns[labels] + 0.5 * noise) * 255).byte()
        labels[labelled:] = UNKNOWN
        return Split(inputs, labels)

    names = tuple(f"class {number}" for number in range(facts.classes))
    return Dataset(split(facts.inputs, facts.unlabelled or 0), split(facts.test, 0), names)


def synthetic_cases(facts: Facts) -> Dataset:
    """Several images of each object, which differ in lighting and position.

    An object is its class's pattern with individual details. Each image of it is shifted by up to two pixels, under uneven
    lighting that is as strong as the object itself. Each test input shows another object. Equal facts give equal data.
    """
    if None in (facts.inputs, facts.test, facts.classes, facts.shape, facts.cases):
        raise ValueError("dataset.facts must all be given, since the data is made from them")
    total = facts.inputs + (facts.unlabelled or 0)
    if not 1 <= facts.cases <= total:
        raise ValueError(f"dataset.facts.cases={facts.cases}: must be in [1, {total}], the number of inputs")
    source = torch.Generator().manual_seed(2)
    channels, height, width = facts.shape

    def fields(count: int, cells: int) -> Tensor:
        """Smooth random fields, −1 to 1: (count, C, H, W)."""
        coarse = torch.rand(count, channels, cells, cells, generator=source) * 2 - 1
        return F.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)

    patterns = fields(facts.classes, 7)

    def split(cases: Tensor) -> Split:
        labels = torch.arange(int(cases.max()) + 1) % facts.classes
        objects = 0.7 * patterns[labels] + 0.3 * fields(len(labels), 7)
        moves = torch.randint(-2, 3, (len(cases), 2), generator=source).tolist()
        shots = torch.stack(
            [objects[case].roll(move, (1, 2)) for case, move in zip(cases.tolist(), moves, strict=True)]
        )
        lit = 0.5 + 0.5 * shots + 0.5 * fields(len(cases), 3)
        return Split((lit.clamp(0, 1) * 255).byte(), labels[cases])

    cases = torch.arange(total) % facts.cases
    train, test = split(cases), split(torch.arange(facts.test))
    train.labels[facts.inputs :] = UNKNOWN
    names = tuple(f"class {number}" for number in range(facts.classes))
    return Dataset(train, test, names, cases)
