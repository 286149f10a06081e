"""Your own inputs, as NumPy files."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.schema import ImageFacts
from ssl_cli.data.images.channels import channels_second
from ssl_cli.data.types import UNKNOWN, Dataset, Split, separate_unknown
from ssl_cli.errors import ConfigError

MOST_CLASSES = 100_000  # a label beyond is a mistake, whose names and weights alone would take all memory
WANTED = "it must be uint8 of shape (N, H, W), (N, H, W, 3) or (N, C, H, W)"


def arrays(root: Path, facts: ImageFacts) -> Dataset:
    """Your own inputs, as memory-mapped NumPy files.

    `train_inputs.npy`, `test_inputs.npy`: uint8, (N, H, W), (N, H, W, 3) or (N, C, H, W). `train_labels.npy`,
    `test_labels.npy`: integers (N,), −1 where unknown; without `train_labels.npy`, no label is known. Optional
    `train_cases.npy`: integers (N,), equal for inputs that belong together, −1 for an input without others. Optional
    `classes.txt`: one name per line.

    Raises:
        ConfigError: a file is missing, or has the wrong type or shape.
    """
    train_inputs, test_inputs = (_mapped(root, f"{part}_inputs.npy") for part in ("train", "test"))
    train_labels = _labels(root, "train_labels.npy", len(train_inputs), optional=True)
    test_labels = _labels(root, "test_labels.npy", len(test_inputs), optional=False)
    names = root / "classes.txt"
    known = torch.cat([train_labels, test_labels])
    known = known[known != UNKNOWN]
    if len(known) and int(known.min()) > 0:
        raise ConfigError(
            f"dataset.root={root}: labels begin at {int(known.min())}, and classes are counted from 0; "
            "subtract it from both files"
        )
    count = int(max(train_labels.max(), test_labels.max())) + 1
    if count > MOST_CLASSES:
        raise ConfigError(
            f"dataset.root={root}: labels go up to {count - 1:,}, and classes are counted from 0, so that there may be "
            f"{MOST_CLASSES:,} of them; number them anew in both files"
        )
    classes = tuple(_names(root, names)[:count]) if names.exists() else tuple(map(str, range(count)))
    return Dataset(
        Split(train_inputs, train_labels), Split(test_inputs, test_labels), classes, _cases(root, train_inputs)
    )


def _names(root: Path, path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"dataset.root={root}: {path.name} is no text in UTF-8, with a name in each line") from error


def _cases(root: Path, inputs: Tensor) -> Tensor | None:
    if not (root / "train_cases.npy").exists():
        return None
    return separate_unknown(_labels(root, "train_cases.npy", len(inputs), optional=False))


def _mapped(root: Path, name: str) -> Tensor:
    path = root / name
    if not path.is_file():
        raise ConfigError(f"dataset.root={root}: {name} is missing there")
    try:
        array = np.load(path, mmap_mode="r")  # a system promises no more pages that can be written than it has memory
    except (OSError, ValueError, EOFError, OverflowError, MemoryError) as error:
        why = "Python objects, as where images differ in size" if "object" in str(error).lower() else "no whole array"
        raise ConfigError(f"dataset.root={root}: {name} holds {why}; {WANTED}") from error
    if array.ndim == 4 and array.shape[-1] == 4 and array.shape[1] > 4:
        raise ConfigError(f"dataset.root={root}: {name} holds images with four channels (RGBA); save images[..., :3]")
    if np.issubdtype(array.dtype, np.floating):
        raise ConfigError(
            f"dataset.root={root}: {name} holds {array.dtype}; {WANTED}, so save (255 * images).round().astype('uint8') "
            "where they end at 1"
        )
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or not len(array):
        raise ConfigError(f"dataset.root={root}: {name} holds {array.dtype} of shape {array.shape}; {WANTED}")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*not writable", UserWarning)  # nothing here writes
        return channels_second(torch.from_numpy(array))


def _labels(root: Path, name: str, count: int, optional: bool) -> Tensor:
    path = root / name
    if optional and not path.exists():
        return torch.full((count,), UNKNOWN)
    if not path.is_file():
        raise ConfigError(f"dataset.root={root}: {name} is missing there")
    try:
        labels = np.load(path)
    except (OSError, ValueError, EOFError, MemoryError, OverflowError) as error:
        raise ConfigError(
            f"dataset.root={root}: {name} holds no whole array; it must be {count:,} integers, −1 where unknown"
        ) from error
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (count,) or labels.min() < UNKNOWN:
        raise ConfigError(
            f"dataset.root={root}: {name} holds {labels.dtype} of shape {labels.shape}; it must be {count:,} integers, "
            "−1 where unknown"
        )
    return torch.from_numpy(labels.astype(np.int64))
