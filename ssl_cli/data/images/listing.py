"""Which image files a folder holds, and what is known of each: class, part, case."""

import difflib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from ssl_cli.data.find_files import walk
from ssl_cli.data.images.files import is_image
from ssl_cli.data.images.item import Item
from ssl_cli.data.text.rows import listed, read_records
from ssl_cli.errors import ConfigError

log = logging.getLogger("ssl_cli")

TRAIN, TEST = "train", "test"
PARTS = {"train": TRAIN, "training": TRAIN, "test": TEST, "testing": TEST}
VALIDATION = ("val", "valid", "validation")
UNLABELLED = ("unlabelled", "unlabeled")
COLUMNS = ("path", "label", "split", "case")


def list_folder(root: Path, labels: Path | None) -> list[Item]:
    """The images of a folder in order of their paths.

    Without `labels`, folders inside the root, or inside its folders `train` and `test`, are classes; images beside them and in a
    folder `unlabelled` have no label. With `labels`, a table with the columns path and label, and optionally split and case, all
    images that it does not name have no label.

    Raises:
        ConfigError: there is no such folder, no image in it, or names and labels contradict each other.
    """
    if not root.is_dir():
        raise ConfigError(f"dataset.root={root}: there is no such folder")
    found = sorted(_images(root), key=lambda image: image[0])
    if not found:
        raise ConfigError(
            f"dataset.root={root}: holds no images; their names must end in .jpg, .png or another known suffix"
        )
    return _by_table(root, labels, found) if labels else list(_by_folders(root, found))


def _images(root: Path) -> Iterator[tuple[str, int, int]]:
    """Path below the root, bytes and time of change of each image."""
    for name, entry in walk("dataset.root", root):
        if is_image(Path(entry.name)):
            try:
                about = entry.stat()
            except OSError:  # a link to nothing, which reading it will say
                yield name, 0, 0
                continue
            yield name, about.st_size, about.st_mtime_ns


# Class folders


def _by_folders(root: Path, found: list[tuple[str, int, int]]) -> Iterator[Item]:
    tops = {path.partition("/")[0] for path, _, _ in found if "/" in path}
    parts = {top: PARTS[top.lower()] for top in tops if top.lower() in PARTS}
    spare = [top for top in tops if top.lower() in VALIDATION]
    if TRAIN in parts.values() and spare and TEST not in parts.values():
        parts |= dict.fromkeys(spare, TEST)  # ImageNet's folders: what is called val is tested on
    holds_folders = {path.partition("/")[0] for path, _, _ in found if path.count("/") > 1}
    if TEST not in parts.values() and not any(top in holds_folders for top in parts):
        parts = {}  # a class of trains
    if TEST in parts.values() and TRAIN not in parts.values():
        raise ConfigError(f"dataset.root={root}: has test images and none to train on; add a folder named train")
    unused = sorted(top for top in tops if parts and top not in parts and top.lower() not in UNLABELLED)
    if unused:
        log.info("Note: folders beside the training and the test images are not used: %s.", ", ".join(unused))
    items: list[Item] = []
    for path, size, changed in found:
        top, _, inner = path.partition("/")
        part = parts.get(top) if inner else None
        if parts and part is None and inner and top.lower() not in UNLABELLED:
            continue  # beside train and test, such as a validation part of its own
        name = inner.partition("/") if part else path.partition("/")
        label = name[0] if name[1] and name[0].lower() not in UNLABELLED else None
        items.append(Item(path, label, TRAIN if parts and part is None else part, None, size, changed))
    _check_names(f"dataset.root={root}", items)
    yield from items


def _check_names(asked: str, items: Iterable[Item]) -> None:
    """Raises ConfigError where a class is tested that is not trained, as where a name is misspelt."""
    strange = next((item.label for item in items if item.label and not _is_text(item.label)), None)
    if strange is not None:
        raise ConfigError(f"{asked}: the name of class {strange!r} is not UTF-8; rename it")
    names = {part: {item.label for item in items if item.part == part and item.label} for part in (TRAIN, TEST)}
    for name in sorted(names[TEST] - names[TRAIN]):
        near = difflib.get_close_matches(name, sorted(names[TRAIN]), 1, 0.6)
        meant = f"; is it {near[0]}?" if near else ""
        raise ConfigError(f"{asked}: class {name} is in the test part and not in the training part{meant}")


def _is_text(name: str) -> bool:
    """Whether a name's bytes were UTF-8; others have lone surrogates in it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


# A table of labels


def _by_table(root: Path, labels: Path, found: list[tuple[str, int, int]]) -> list[Item]:
    known = read_label_table(root, labels)
    there = {path for path, _, _ in found}
    known = {path if path in there else path.replace("\\", "/"): row for path, row in known.items()}
    missing = [path for path in known if path not in there]
    if missing:
        raise ConfigError(
            f"dataset.labels={labels}: names files ({len(missing):,}) that are not in {root} or are of no known format, "
            f"such as {missing[0]}"
        )
    items = [Item(path, *known.get(path, (None, None, None)), size, changed) for path, size, changed in found]
    if any(item.part for item in items):
        items = [item if item.part else item._replace(part=TRAIN) for item in items]
    _check_names(f"dataset.labels={labels}", items)
    return items


def read_label_table(root: Path, labels: Path) -> dict[str, tuple[str | None, str | None, str | None]]:
    """What a table of labels says, by path: label, part, case.

    Raises:
        ConfigError: there is no such table, or it contradicts itself.
    """
    if not labels.is_file():
        raise ConfigError(f"dataset.labels={labels}: there is no such file")
    known: dict[str, tuple[str | None, str | None, str | None]] = {}
    for number, record in read_records(labels, "utf-8", "dataset.labels"):
        if not {"path", "label"} <= record.keys():
            raise ConfigError(
                f"dataset.labels={labels}: must have the columns path and label, and may have split and case; "
                f"it has {listed(record)}"
            )
        path = inside(root, str(record["path"]).strip())
        label, part, case = (_cell(record.get(name)) for name in COLUMNS[1:])
        if part is not None and part.lower() not in PARTS:
            raise ConfigError(f"dataset.labels={labels}: row {number} has split {part!r}; must be train or test")
        row = (label, None if part is None else PARTS[part.lower()], case)
        if known.setdefault(path, row)[1:] != row[1:]:
            raise ConfigError(
                f"dataset.labels={labels}: {path} is there twice, with another split or case; must be there once"
            )
        if known[path][0] != label:
            raise ConfigError(
                f"dataset.labels={labels}: {path} has two labels, {known[path][0] or 'none'} and {label or 'none'}; must have one"
            )
    if not known:
        raise ConfigError(f"dataset.labels={labels}: has no rows")
    return known


def _cell(value: object) -> str | None:
    said = "" if value is None or value != value else str(value).strip()
    return said or None


def inside(root: Path, path: str) -> str:
    """A path as it is below a data set's root: relative to it, with slashes."""
    given = Path(path)
    if given.is_absolute() and given.is_relative_to(root.absolute()):
        given = given.relative_to(root.absolute())
    return given.as_posix()
