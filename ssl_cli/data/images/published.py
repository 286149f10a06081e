"""Published data sets, read and, if allowed, downloaded by torchvision."""

import contextlib
import gzip
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ssl_cli.config.schema import ImageFacts
from ssl_cli.data.images.channels import channels_second
from ssl_cli.data.types import Dataset, Split
from ssl_cli.errors import ConfigError

MNIST_FAMILY = ("MNIST", "FashionMNIST", "KMNIST")


def from_torchvision(
    which: Literal["MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "SVHN", "STL10"],
    root: Path,
    download: bool,
    facts: ImageFacts,
) -> Dataset:
    """A data set that torchvision reads and, if allowed, downloads.

    Files of the MNIST family may also be in `root` itself, gzipped or not, as Linux distributions ship them.

    Raises:
        ConfigError: its files are not in `root` and could not be downloaded.
    """
    from torchvision import datasets

    reader = getattr(datasets, which)
    splits = ({"split": "train+unlabeled"}, {"split": "test"}) if which == "STL10" else (
        ({"split": "train"}, {"split": "test"}) if which == "SVHN" else ({"train": True}, {"train": False})
    )  # fmt: skip
    if which in MNIST_FAMILY and not _folder(reader, root).exists() and _has_idx(root):
        return Dataset(_idx_split(root, "train"), _idx_split(root, "t10k"), tuple(map(str, reader.classes)))
    train, test = (_read(reader, root, download, **split) for split in splits)
    classes = getattr(train, "classes", None) or _numbers(facts)
    return Dataset(_split(train), _split(test), tuple(map(str, classes)))


def _numbers(facts: ImageFacts) -> range:
    if facts.classes is None:
        raise ValueError("dataset.facts.classes must be given, since torchvision has no names of the classes")
    return range(facts.classes)


def _has_idx(root: Path) -> bool:
    return all(_idx_path(root, part, kind) for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


def _idx_path(root: Path, part: str, kind: str) -> Path | None:
    names = (f"{part}-{kind}-ubyte", f"{part}-{kind}-ubyte.gz")
    return next((path for path in map(root.joinpath, names) if path.is_file()), None)


def _idx_split(root: Path, part: str) -> Split:
    images, answers = (_idx_path(root, part, kind) for kind in ("images-idx3", "labels-idx1"))
    if images is None or answers is None:
        raise ConfigError(f"dataset.root={root}: a {part} file is missing")
    inputs, labels = _idx(images), _idx(answers)
    if inputs.ndim != 3 or labels.shape != (len(inputs),):
        raise ConfigError(
            f"dataset.root={root}: the {part} files hold inputs of shape {inputs.shape} and labels of {labels.shape}; "
            "they must be (N, H, W) and (N,)"
        )
    return Split(torch.from_numpy(inputs)[:, None], torch.from_numpy(labels).long())


def _idx(path: Path) -> np.ndarray:
    """An IDX file of bytes (LeCun et al., 1998): two zeros, type 8, the number of sides, then the sides, then the bytes.

    Raises:
        ConfigError: it is something else, or cut off.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
    except (OSError, EOFError) as error:
        raise ConfigError(f"dataset.root={path.parent}: {path.name} cannot be read ({error})") from error
    sides = content[3] if len(content) > 3 and content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content, ">u4", sides, 4) if len(content) >= 4 + 4 * sides else []
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape))
    if not len(shape) or data.size != np.prod(shape):
        raise ConfigError(f"dataset.root={path.parent}: {path.name} is no IDX file of bytes, or is cut off")
    return data.reshape(shape).copy()


def _read(reader: type, root: Path, download: bool, **split: object):
    try:
        return reader(str(root), download=False, **split)
    except RuntimeError:  # torchvision's error for missing or damaged files
        pass
    reason = "dataset.download=false"
    if download:
        is_new = not root.exists()
        try:
            return reader(str(root), download=True, **split)
        except (RuntimeError, OSError) as error:  # URLError is an OSError
            reason = f"the download failed: {str(error).splitlines()[0].rstrip(':')}"
            if is_new:
                _remove_empty(root)
    raise ConfigError(
        f"dataset.root={root}: {', '.join(_files(reader))} missing in {_folder(reader, root)} ({reason}); put them "
        "there, or use dataset=mnist5k, which needs no download"
    )


def _remove_empty(folder: Path) -> None:
    """Remove empty folders that a failed download has left."""
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # not empty
            Path(path).rmdir()


def _folder(reader: type, root: Path) -> Path:
    if hasattr(reader, "resources"):  # the MNIST family
        return root / reader.__name__ / "raw"
    return root / getattr(reader, "base_folder", "")


def _files(reader: type) -> list[str]:
    if hasattr(reader, "resources"):
        return [name.removesuffix(".gz") for name, _ in reader.resources]
    if hasattr(reader, "split_list"):  # SVHN
        return [reader.split_list[split][1] for split in ("train", "test")]
    lists = [name for name, _ in (*getattr(reader, "train_list", ()), *getattr(reader, "test_list", ()))]
    return list(dict.fromkeys(lists))


def _split(read: Any) -> Split:
    """torchvision keeps (N, H, W), (N, H, W, 3) or (N, 3, H, W), as tensor or array."""
    inputs = channels_second(torch.as_tensor(read.data))
    labels = getattr(read, "targets", None)
    return Split(inputs.contiguous(), torch.as_tensor(read.labels if labels is None else labels).long())
