"""Which images of a folder are for training, which for the test, and which are left out."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ssl_cli.data.images.cache import ImageCache
from ssl_cli.data.images.duplicates import find_equal, find_similar
from ssl_cli.data.images.item import Item
from ssl_cli.data.images.listing import TEST, TRAIN
from ssl_cli.data.images.part import Decoded


def write_data_set(
    cache: ImageCache, name: str, items: Sequence[Item], test_fraction: float, tell: Callable[[int, int], None]
) -> None:
    """Decode the files, leave some out, hold out a test part, and write which images the data set has in which order.

    `tell` is called with how many of how many files are decoded.
    """
    found = cache.decoded(items, tell)
    skipped = {number: each.reason for number, each in enumerate(found) if each.reason}
    parts = [item.part for item in items]
    given = TEST in parts
    skipped |= _equal(items, found, skipped)
    readable = [number for number in range(len(items)) if number not in skipped]

    def pixels(number: int) -> np.ndarray:
        return cache.pixels(found[number])

    looks = [each.look for each in found]
    if given:
        for number in readable:
            if parts[number] == TEST and items[number].label is None:
                skipped[number] = "a test image without a label; stage=predict takes such"
        readable = [number for number in readable if number not in skipped]
        train, test = ([number for number in readable if parts[number] == part] for part in (TRAIN, TEST))
        for one, other in find_similar(looks, train, test, pixels):
            skipped.setdefault(one, f"nearly the same as {items[other].path}, which is a test image")
    else:
        groups = _groups(items, readable, find_similar(looks, readable, readable, pixels))
        parts = _held_out(items, [number for number in readable if items[number].label], groups, test_fraction)
        tested = {groups[number] for number in readable if parts[number] == TEST}
        for number in readable:
            if parts[number] == TRAIN and groups[number] in tested:
                skipped[number] = "of a case that is held out for the test, or nearly the same as such an image"
    readable = [number for number in readable if number not in skipped]
    order = [number for part in (TRAIN, TEST) for number in readable if (parts[number] or TRAIN) == part]
    tests = sum((parts[number] or TRAIN) == TEST for number in order)
    notes = {
        "paths": [items[number].path for number in order],
        "train": len(order) - tests,
        "test": tests,
        "labels": [items[number].label for number in order],
        "cases": [items[number].case for number in order],
        "skipped": [[items[number].path, skipped[number]] for number in sorted(skipped)],
        "held_out": not given and tests > 0,
        "passing": any(each.passing for each in found),
    }
    cache.keep(name, items, found, order, notes)


def _equal(items: Sequence[Item], found: Sequence[Decoded], skipped: dict[int, Any]) -> dict[int, str]:
    """Files that are there twice: a test image stays, else the first with a label."""
    left_out: dict[int, str] = {}
    for group in find_equal(
        [each.hash if number not in skipped else f"skipped {number}" for number, each in enumerate(found)]
    ).values():
        first, *others = sorted(
            group, key=lambda number: (items[number].part != TEST, items[number].label is None, number)
        )
        for other in others:
            labels = {items[first].label, items[other].label} - {None}
            another = ", with another label" if len(labels) > 1 else ""
            left_out[other] = f"the same as {items[first].path}{another}"
    return left_out


def _groups(items: Sequence[Item], readable: Sequence[int], similar: Sequence[tuple[int, int]]) -> dict[int, int]:
    """For each image the first of those that belong with it: of the same case, or nearly the same, also by way of others."""
    root = {number: number for number in readable}

    def first(number: int) -> int:
        while root[number] != number:
            root[number] = root[root[number]]
            number = root[number]
        return number

    cases: dict[str, int] = {}
    alike = [(cases.setdefault(case, number), number) for number in readable if (case := items[number].case)]
    for one, other in (*similar, *alike):
        one, other = sorted((first(one), first(other)))
        root[other] = one
    return {number: first(number) for number in readable}


def _held_out(
    items: Sequence[Item], labelled: Sequence[int], groups: dict[int, int], fraction: float
) -> list[str | None]:
    """The part of each image where nothing says it: a fraction of each class, whole groups together.

    Groups are taken in the order of a hash of their first path, so that a file more moves few of the others.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for number in labelled:
        members[groups[number]].append(number)
    counts = Counter(items[number].label for number in labelled)
    wanted = {label: min(round(fraction * count), count - 1) for label, count in counts.items()}
    parts: list[str | None] = [TRAIN] * len(items)

    def place(group: int) -> bytes:
        return hashlib.blake2b(items[group].path.encode(errors="surrogateescape"), digest_size=8).digest()

    for group in sorted(members, key=place):
        own = Counter(items[number].label for number in members[group])
        if all(wanted[label] >= count for label, count in own.items()):
            for number in members[group]:
                parts[number] = TEST
            wanted = {label: count - own.get(label, 0) for label, count in wanted.items()}
    return parts
