"""How many labels that were changed on purpose are found: real digits, of which a tenth get another label.

python benchmarks/label_errors.py [WORDS…]    # more words of the command, such as stage.folds=5

The digits of `dataset=mnist5k` are written as arrays, in a folder of its own that is removed in the end.
"""

import csv
import sys
import tempfile
from pathlib import Path

import numpy as np

import ssl_cli
from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.data.types import as_tensor

SHARE = 0.1
WORDS = (
    "dataset=arrays", "augment=digits", "schedule=quick", "budget=all", "stage.train=head", "backbone.width=8",
    "schedule.pretrain.max_steps=150", "schedule.pretrain.batch_size=128",
)  # fmt: skip


def write_digits(folder: Path, every: int = 1) -> set[int]:
    """Write every n-th training digit, and some for the test, as arrays; the items with another label than their own."""
    digits = load(from_overrides("dataset=mnist5k").dataset)
    labels = digits.train.labels[::every].numpy().copy()
    source = np.random.default_rng(0)
    wrong = source.permutation(len(labels))[: round(SHARE * len(labels))]
    labels[wrong] = (labels[wrong] + source.integers(1, 10, len(wrong))) % 10
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "train_inputs.npy", as_tensor(digits.train.inputs)[::every].numpy())
    np.save(folder / "train_labels.npy", labels)
    np.save(folder / "test_inputs.npy", as_tensor(digits.test.inputs)[::5].numpy())
    np.save(folder / "test_labels.npy", digits.test.labels[::5].numpy())
    return set(wrong.tolist())


def found_in(run: Path) -> set[int]:
    """The items that a run's `suspect_labels.csv` lists."""
    with (run / "suspect_labels.csv").open(encoding="utf-8") as file:
        return {int(row["input"]) for row in csv.DictReader(file)}


def measured(wrong: set[int], found: set[int]) -> tuple[float, float]:
    """Precision and recall."""
    return len(wrong & found) / max(1, len(found)), len(wrong & found) / len(wrong)


def main(words: list[str]) -> None:
    """Flip, run, print."""
    with tempfile.TemporaryDirectory() as place:
        wrong = write_digits(Path(place, "digits"))
        folder = Path(place, "run")
        ssl_cli.run("finetune", *WORDS, f"dataset.root={place}/digits", *words, f"hydra.run.dir={folder}")
        found = found_in(folder)
    precision, recall = measured(wrong, found)
    print(f"{len(wrong)} labels changed, {len(found)} suspect: precision {precision:.1%}, recall {recall:.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
