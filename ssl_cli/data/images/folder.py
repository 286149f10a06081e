"""Your own images, from a folder."""

import contextlib
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from ssl_cli.config.schema import ImageFacts
from ssl_cli.data.images.cache import ImageCache, PartLostError
from ssl_cli.data.images.choose_reading import choose_reading
from ssl_cli.data.images.files import Reading
from ssl_cli.data.images.item import Item
from ssl_cli.data.images.listing import list_folder
from ssl_cli.data.images.parts import write_data_set
from ssl_cli.data.made_once import made_by_one
from ssl_cli.data.shards import Shards
from ssl_cli.data.types import UNKNOWN, Dataset, Files, Split, in_order, separate_unknown
from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import short

log = logging.getLogger("ssl_cli")

TRIES = 3


def folder(
    root: Path,
    labels: Path | None,
    size: Annotated[int, "[8, 1024]"] | Literal["auto"],
    colour: bool | Literal["auto"],
    fit: Literal["crop", "pad", "stretch"],
    test_fraction: Annotated[float, "[0, 1)"],
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
            for the test; when files are added, few of them change. 0: none, and labels are tested in folds.
        strict: whether a file that is left out (damaged, a duplicate) ends the run.
        cache: the folder where decoded images are kept.
        facts: what is known.

    Raises:
        ConfigError: the folder or the table makes no data set, or the cache cannot be written.
    """
    items = list_folder(root, labels)
    reading = choose_reading(root, items, size, colour, fit, cache)
    kept = ImageCache(cache, root, reading)
    name = _name(items, test_fraction)
    there = kept.whole(name)
    if there is None or there[1]["passing"]:
        there = _made(kept, name, items, test_fraction)
    images, notes = there
    try:
        return _dataset(root, images, notes, reading, strict, may_lack_test=not test_fraction)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        raise ConfigError(
            f"dataset.cache={cache}: {kept.folder} is damaged; remove this folder, and images are decoded anew"
        ) from error


def _made(kept: ImageCache, name: str, items: Sequence[Item], test_fraction: float) -> tuple[Shards, dict[str, Any]]:
    """All images, once this command or another one has decoded them."""
    with made_by_one(kept.setting, kept.folder, f"the decoded images of {short(kept.root)}", "images") as mine:
        there = kept.whole(name)
        if there is not None and (mine.waited or not there[1]["passing"]):
            return there
        for _ in range(TRIES):
            with contextlib.suppress(PartLostError):  # this process stood still for so long that another one took over
                write_data_set(kept, name, items, test_fraction, mine.tell)
                if (there := kept.whole(name)) is not None:
                    return there
    raise ConfigError(f"dataset.cache={kept.setting}: {kept.folder} changes while it is read; remove it and try again")


def _name(items: Sequence[Item], test_fraction: float) -> str:
    """Of a data set that has these files in these roles."""
    return hashlib.sha256(json.dumps([items, test_fraction]).encode()).hexdigest()[:24]


def _dataset(
    root: Path, images: Shards, notes: dict[str, Any], reading: Reading, strict: bool, may_lack_test: bool
) -> Dataset:
    skipped = [(path, reason) for path, reason in notes["skipped"]]
    _say_skipped(root, skipped, strict)
    count, tests, labels = notes["train"], notes["test"], notes["labels"]
    classes = in_order({label for label in labels if label})
    if not count:
        raise ConfigError(f"dataset.root={root}: there is no training image")
    if len(classes) == 1:
        raise ConfigError(
            f"dataset.root={root}: the only class is {classes[0]}; there must be two, or none and images without labels"
        )
    if classes and not tests and not may_lack_test:
        raise ConfigError(
            f"dataset.root={root}: has too few images or cases of each class to hold out any for the test, or no test image "
            "has a label; add some, or measure by stage.folds with dataset.test_fraction=0"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    known = torch.tensor([numbers.get(label, UNKNOWN) for label in labels])
    return Dataset(
        Split(images.some(slice(count)), known[:count]),
        Split(images.some(slice(count, count + tests)), known[count:]),
        classes,
        _cases(notes["cases"][:count]),
        reading=reading,
        files=Files(str(root), notes["paths"][:count], notes["paths"][count:], skipped, notes["held_out"]),
    )


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
