"""Your own images, from a folder."""

import hashlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from ssl_cli.config.schema import ImageFacts
from ssl_cli.data.images.cache import Decoded, ImageCache, PartLostError
from ssl_cli.data.images.duplicates import find_equal, find_similar
from ssl_cli.data.images.files import Fit, Reading, UnreadableError, is_colour, open_image, read_file, to_eight_bits
from ssl_cli.data.images.listing import TEST, TRAIN, Item, list_folder
from ssl_cli.data.types import UNKNOWN, Dataset, Files, Split, separate_unknown
from ssl_cli.errors import ConfigError

log = logging.getLogger("ssl_cli")

LOOKED_AT = 200  # files, evenly spaced, by which size and colour are chosen
LARGEST = 64  # pixels a side that are proposed: what two processor cores train on in minutes
TRIES = 3


def folder(
    root: Path,
    labels: Path | None,
    size: Annotated[int, "[8, 1024]"] | Literal["auto"],
    colour: bool | Literal["auto"],
    fit: Literal["crop", "pad", "stretch"],
    test_fraction: Annotated[float, "(0, 1)"],
    strict: bool,
    cache: Path,
    facts: ImageFacts,
) -> Dataset:
    """Your own images: JPEG, PNG, WebP, TIFF, BMP, GIF (the first frame) and HEIC (with pillow-heif).

    Args:
        root: a folder with a folder of images for each class, or with such folders in `train` and `test`; or, with `labels`, any
            folder.
        labels: a table with the columns path (below root) and label, and optionally split (train or test) and case (images with
            the same value belong together, such as those of a patient); what it does not name is unlabelled.
        size: pixels a side of what the network sees; auto: the short side of half of the images, at most 64.
        colour: three channels or one; auto: one where no image shows a colour.
        fit: what becomes of images that are not square; see `Reading`.
        test_fraction: of the labelled images of each class, with their cases, that is held out where nothing says which are
            for the test; when files are added, few of them change.
        strict: whether a file that is left out (damaged, a duplicate) ends the run.
        cache: the folder where decoded images are kept.
        facts: what is known.

    Raises:
        ConfigError: the folder or the table makes no data set, or the cache cannot be written.
    """
    items = list_folder(root, labels)
    reading = _reading(root, items, size, colour, fit, cache)
    kept = ImageCache(cache, root, reading)
    name = _name(items, test_fraction)
    for attempt in range(TRIES):
        try:
            there = kept.whole(name)
            if there is None or there[1]["passing"]:
                _make(kept, name, items, test_fraction)
                there = kept.whole(name)
            if there is not None:
                break
        except PartLostError:
            if attempt + 1 == TRIES:
                raise
    else:
        raise ConfigError(f"dataset.cache={cache}: {kept.folder} changes while it is read; remove it and try again")
    pixels, notes = there
    return _dataset(root, pixels, notes, reading, strict)


def _name(items: Sequence[Item], test_fraction: float) -> str:
    """Of the part of the cache that has these files in these roles."""
    return "whole-" + hashlib.sha256(json.dumps([items, test_fraction]).encode()).hexdigest()[:24]


# Size and colour


def _reading(
    root: Path,
    items: Sequence[Item],
    size: int | Literal["auto"],
    colour: bool | Literal["auto"],
    fit: Fit,
    cache: Path,
) -> Reading:
    """What all files are read as. What is to be chosen is chosen from some of the files, and remembered in the cache."""
    if size != "auto" and colour != "auto":
        return Reading(size, size, 3 if colour else 1, fit)
    key = hashlib.sha256(json.dumps([str(root.absolute()), items]).encode()).hexdigest()[:24]
    path = cache.expanduser() / "images" / f"look-{key}.json"
    try:
        side, coloured = json.loads(path.read_text())
    except (OSError, ValueError):
        side, coloured = _look(root, items)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps([side, coloured]))
        except OSError as error:
            raise ConfigError(f"dataset.cache={cache}: cannot be written ({error.strerror})") from error
    chosen = min(side, LARGEST) if size == "auto" else size
    if size == "auto":
        more = f"; dataset.size={side} keeps all of it" if side > LARGEST else ""
        log.info(
            "Images are read at %s×%s pixels: the short side of half of them is at least %s%s.",
            chosen,
            chosen,
            side,
            more,
        )
    return Reading(chosen, chosen, 3 if (coloured if colour == "auto" else colour) else 1, fit)


def _look(root: Path, items: Sequence[Item]) -> tuple[int, bool]:
    """The median short side of some images, at least 8, and whether any shows a colour."""
    sides: list[int] = []
    coloured = False
    for number in np.linspace(0, len(items) - 1, min(len(items), LOOKED_AT)).astype(int).tolist():
        path = root / items[number].path
        try:
            image = to_eight_bits(open_image(read_file(path), path.suffix))
        except UnreadableError:
            continue
        sides.append(min(image.size))
        coloured = coloured or is_colour(image)
    if not sides:
        raise ConfigError(f"dataset.root={root}: none of the first {len(items):,} images can be read")
    return max(int(np.median(sides)), 8), coloured


# What becomes of each file


def _make(cache: ImageCache, name: str, items: Sequence[Item], test_fraction: float) -> None:
    """Decode the files, leave some out, hold out a test part, and write all of it in the order of the data set."""
    found = cache.decoded(items)
    skipped = {number: each.reason for number, each in enumerate(found) if each.reason}
    parts = [item.part for item in items]
    given = TEST in parts
    skipped |= _equal(items, found, skipped)
    readable = [number for number in range(len(items)) if number not in skipped]

    def pixels(number: int) -> np.ndarray:
        place = found[number].place
        if place is None:
            raise ValueError("this file has no pixels")
        return cache.row(place)

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
    used = set(order)
    rest = [number for number in range(len(items)) if number not in used]
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
    every = [*order, *rest]
    cache.write_whole(name, [items[number] for number in every], [found[number] for number in every], notes)


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


# The data set


def _dataset(root: Path, pixels: np.ndarray, notes: dict[str, Any], reading: Reading, strict: bool) -> Dataset:
    skipped = [(path, reason) for path, reason in notes["skipped"]]
    _say_skipped(root, skipped, strict)
    count, tests, labels = notes["train"], notes["test"], notes["labels"]
    classes = _in_order({label for label in labels if label})
    if not count:
        raise ConfigError(f"dataset.root={root}: there is no training image")
    if len(classes) == 1:
        raise ConfigError(
            f"dataset.root={root}: the only class is {classes[0]}; there must be two, or none and images without labels"
        )
    if classes and not tests:
        raise ConfigError(
            f"dataset.root={root}: has too few images or cases of each class to hold out any for the test, or no test image "
            "has a label; add some"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    known = torch.tensor([numbers.get(label, UNKNOWN) for label in labels])
    inputs = torch.from_numpy(pixels)
    return Dataset(
        Split(inputs[:count], known[:count]),
        Split(inputs[count : count + tests], known[count:]),
        classes,
        _cases(notes["cases"][:count]),
        reading=reading,
        files=Files(str(root), notes["paths"][:count], notes["paths"][count:], skipped, notes["held_out"]),
    )


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Numbers by value, then words."""
    return tuple(sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)))


def _cases(names: list[str | None]) -> torch.Tensor | None:
    if not any(names):
        return None
    numbers = {name: number for number, name in enumerate(dict.fromkeys(name for name in names if name))}
    return separate_unknown(torch.tensor([numbers[name] if name else UNKNOWN for name in names]))


def _say_skipped(root: Path, skipped: list[tuple[str, str]], strict: bool) -> None:
    if not skipped:
        return
    if strict:
        path, reason = skipped[0]
        raise ConfigError(
            f"dataset.strict=true: {len(skipped):,} files of {root} cannot be used, such as {path} ({reason}); "
            "repair or remove them, or set it to false"
        )
    kinds = Counter(_kind(reason) for _, reason in skipped)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    log.info("Note: %s files are left out (%s); skipped.csv lists them.", f"{len(skipped):,}", counts)


def _kind(reason: str) -> str:
    """What many reasons have in common, for counting."""
    for start, kind in (
        ("the same", "duplicates"),
        ("nearly the same", "near duplicates of test images"),
        ("damaged", "damaged"),
    ):
        if reason.startswith(start):
            return kind
    return reason
