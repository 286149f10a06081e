"""Which inputs are worth a label: each way of `stage=select` against random ones, on data whose labels are known.

    python benchmarks/selection.py dataset=mnist5k                    # --draws, --seeds, --labels: see --help
    python benchmarks/selection.py dataset=arrays dataset.root=FOLDER

The words are those of `ssl-cli pretrain`, which runs once a seed and is not repeated where its folder is finished. Each draw
takes 80 % of the training inputs, the same for all ways, as if they had no labels; a way chooses from them, and logistic
regression on the frozen, standardised features learns the labels of what was chosen. It is tested on the whole test set. Ways
that ask a classifier ask that regression, fitted on the number of labels before, and begin with random labels, or typical ones
where their name says so. `balanced`, as many of each class, knows the labels beforehand, and is no way to choose. Draws share
few pre-trainings, so the intervals of differences (Student's, over draws) are about other draws from these, more than about
other pre-trainings.
"""

import argparse
import json
import statistics
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ssl_cli.config.schema import Runtime
from ssl_cli.data.budget import label_order
from ssl_cli.data.dataset import load
from ssl_cli.data.selection.k_centre import choose_k_centre
from ssl_cli.data.selection.proposal import draw_at_random
from ssl_cli.data.selection.typical import choose_typical
from ssl_cli.data.selection.uncertain import choose_by_entropy, choose_by_margin, choose_margin_then_k_centre
from ssl_cli.data.types import UNKNOWN, Dataset, Split
from ssl_cli.randomness import generator
from ssl_cli.runs.finished import settings_of
from ssl_cli.stages.networks import plain_of, pretrained_backbone
from ssl_cli.training.device import machine
from ssl_cli.training.evaluate import outputs

SHARE = 0.8  # of the training inputs, in a draw
NONE = torch.empty(0, dtype=torch.int64)
RUNTIME = Runtime("auto", "float32", 1, "auto", False, 0.0)


@dataclass(frozen=True)
class Frozen:
    """Standardised features and labels of a draw's inputs and of the test, and a seed."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    seed: int

    @property
    def everything(self) -> Tensor:
        """All items of the draw."""
        return torch.arange(len(self.train))

    def fitted(self, items: Tensor) -> Callable[[Tensor], Tensor]:
        """Logistic regression on these items: features → log probabilities of all classes, (N, D) → (N, classes)."""
        labels = self.train.labels[items]
        logits_of = torch.full((len(self.classes),), -1e9)
        if len(labels.unique()) == 1:
            logits_of[labels[0]] = 0.0
            return lambda features: logits_of.expand(len(features), -1)
        regression = LogisticRegression(C=1.0, max_iter=2000).fit(self.train.inputs[items].numpy(), labels.numpy())

        def answer(features: Tensor) -> Tensor:
            found = logits_of.repeat(len(features), 1)
            found[:, regression.classes_] = torch.from_numpy(regression.predict_log_proba(features.numpy())).float()
            return found

        return answer


Way = Callable[[Frozen, list[int]], dict[int, Tensor]]  # a draw and numbers of labels → items for each of them


def at_random(draw: Frozen, counts: list[int]) -> dict[int, Tensor]:
    chosen = draw_at_random(draw.everything, max(counts), generator(draw.seed, "selection")).items
    return {count: chosen[:count] for count in counts}


def balanced(draw: Frozen, counts: list[int]) -> dict[int, Tensor]:
    order = label_order(draw.train.labels, "balanced", generator(draw.seed, "selection"))
    return {count: order[:count] for count in counts}


def typical(draw: Frozen, counts: list[int]) -> dict[int, Tensor]:
    return {
        count: choose_typical(draw.train.inputs, NONE, draw.everything, count, generator(draw.seed, "selection")).items
        for count in counts
    }


def k_centre(draw: Frozen, counts: list[int]) -> dict[int, Tensor]:
    chosen = choose_k_centre(draw.train.inputs, NONE, draw.everything, max(counts)).items
    return {count: chosen[:count] for count in counts}


def asking(first: Way, choose: Callable[[Frozen, Tensor, Tensor, Tensor, int], Tensor]) -> Way:
    """A way that begins as another one, and goes on by what a classifier says that has learnt the labels so far."""

    def way(draw: Frozen, counts: list[int]) -> dict[int, Tensor]:
        found = first(draw, counts[:1])
        for before, count in pairwise(counts):
            known = found[before]
            free = torch.ones(len(draw.train), dtype=torch.bool)
            free[known] = False
            logits = draw.fitted(known)(draw.train.inputs)
            added = choose(draw, logits, known, free.nonzero()[:, 0], count - before)
            found[count] = torch.cat([known, added])
        return found

    return way


def margin(draw: Frozen, logits: Tensor, known: Tensor, free: Tensor, count: int) -> Tensor:
    return choose_by_margin(logits, draw.classes, free, count).items


def entropy(draw: Frozen, logits: Tensor, known: Tensor, free: Tensor, count: int) -> Tensor:
    return choose_by_entropy(logits, free, count).items


def both(draw: Frozen, logits: Tensor, known: Tensor, free: Tensor, count: int) -> Tensor:
    return choose_margin_then_k_centre(logits, draw.classes, draw.train.inputs, known, free, count).items


WAYS: dict[str, Way] = {
    "random": at_random,
    "typical": typical,
    "k_centre": k_centre,
    "margin": asking(at_random, margin),
    "entropy": asking(at_random, entropy),
    "margin_then_k_centre": asking(at_random, both),
    "typical, then margin": asking(typical, margin),
    "balanced": balanced,
}


def pretrained(words: list[str], seed: int, folder: Path) -> tuple[Split, Split, Dataset]:
    """Features of the training inputs whose labels are known and of the test, by a pre-training with this seed."""
    if not (folder / "result.json").exists():
        command = ["pretrain", *words, f"seed={seed}", f"hydra.run.dir={folder}"]
        print("ssl-cli", *command, flush=True)
        subprocess.run([sys.executable, "-m", "ssl_cli", *command], check=True)
    config = settings_of("folder", folder, "pre-training")
    dataset, here = load(config.dataset), machine(RUNTIME)
    backbone = here.place(pretrained_backbone(config, dataset, folder))
    plain = plain_of(config, dataset)
    known = dataset.train.labels != UNKNOWN
    train = outputs(backbone, dataset.train.inputs[known], plain, here)
    mean, spread = train.mean(0), train.std(0).clamp(min=1e-6)
    test = outputs(backbone, dataset.test.inputs, plain, here)
    return (
        Split((train - mean) / spread, dataset.train.labels[known]),
        Split((test - mean) / spread, dataset.test.labels),
        dataset,
    )


def measured(draw: Frozen, items: Tensor) -> dict[str, float]:
    """Test accuracy in %, and classes without a label."""
    answers = draw.fitted(items)(draw.test.inputs).argmax(1)
    return {
        "accuracy": 100 * float((answers == draw.test.labels).double().mean()),
        "missed": len(draw.train.labels.unique()) - len(draw.train.labels[items].unique()),
    }


def show(found: dict[str, dict[int, list[dict[str, float]]]], counts: list[int]) -> None:
    """A table in Markdown: accuracy, the paired difference from random with its 95 % interval, and classes missed."""
    for count in counts:
        print(f"\n| {count} labels | accuracy | − random | classes missed |\n|---|---:|---:|---:|")
        usual = [one["accuracy"] for one in found["random"][count]]
        for way, by_count in found.items():
            own = [one["accuracy"] for one in by_count[count]]
            missed = statistics.mean(one["missed"] for one in by_count[count])
            apart = np.subtract(own, usual)
            half = stats.t.ppf(0.975, len(apart) - 1) * stats.sem(apart)
            said = "" if way == "random" else f"{apart.mean():+.1f} ± {half:.1f}"
            print(f"| {way} | {statistics.mean(own):.1f} % | {said} | {missed:.1f} |")


def main() -> None:
    """Measure, and print the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("words", nargs="+", help="of ssl-cli pretrain, such as dataset=mnist5k")
    asked.add_argument("--folder", type=Path, default=Path("outputs/selection"), help="of the pre-trainings")
    asked.add_argument("--labels", type=int, nargs="+", default=[10, 20, 40, 100, 200])
    asked.add_argument("--draws", type=int, default=20)
    asked.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the pre-trainings")
    options = asked.parse_intermixed_args()
    warnings.filterwarnings("ignore", "The number of unique classes")  # few labels of many classes are meant
    seen = [pretrained(options.words, seed, options.folder / f"seed{seed}") for seed in options.seeds]
    counts = sorted(options.labels)
    found: dict[str, dict[int, list[dict[str, float]]]] = {way: {count: [] for count in counts} for way in WAYS}
    for number in range(options.draws):
        train, test, dataset = seen[number % len(seen)]
        kept = torch.randperm(len(train), generator=generator(number, "draw"))[: round(SHARE * len(train))]
        draw = Frozen(Split(train.inputs[kept], train.labels[kept]), test, dataset.classes, number)
        for way, choose in WAYS.items():
            for count, items in choose(draw, counts).items():
                found[way][count].append(measured(draw, items))
        print(f"draw {number + 1} of {options.draws}", file=sys.stderr, flush=True)
    show(found, counts)
    (options.folder / "selection.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
