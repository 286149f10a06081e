"""How often the 95 % intervals of docs/statistics.md hold what they should, in simulated learning curves.

python benchmarks/coverage.py    # one to two minutes on one core; --repeats 100 for a look

Errors fall as a power of the number of labels. A seed shifts them by noise that is alike at neighbouring numbers of labels, since
smaller budgets are part of larger ones, and partly alike in all arms, which get the same labels; training and 1,000 test inputs
add noise of their own.
"""

import argparse
import math
from dataclasses import dataclass

import numpy as np
from other_intervals import BUDGETS, LOGS, crossing, other_intervals
from scipy import stats

from ssl_cli.data.intervals import wilson_interval
from ssl_cli.report import intervals
from ssl_cli.report.label_curve import Curve, labels_saved

SEEDS = (3, 6, 12)
INPUTS = 1000
PLACES = (1, 3)  # among the budgets: 50 and 200 labels
USED = "inverted paired t-test"
WIDTH = 24


@dataclass(frozen=True)
class Scene:
    """True errors and their noise.

    rival: error of the rival with 20 labels; it falls as labels^-power towards `floor`.
    ratio: of the arm's error to the rival's.
    noise: standard deviation of the noise by label draw, relative to the error; training adds half of it.
    skewed: the noise multiplies, so that bad seeds are worse than good ones are good.
    """

    rival: float
    power: float
    floor: float
    ratio: float
    noise: float
    skewed: bool = False

    def errors(self, labels) -> np.ndarray:
        """Of the rival."""
        return self.floor + self.rival * (np.asarray(labels) / 20.0) ** -self.power

    def needed(self, place: int) -> tuple[float, float]:
        """Log labels: where the lines through the rival's true means reach the arm's, and where its true curve does."""
        error = float(self.ratio * self.errors(BUDGETS[place]))
        lines = float(crossing(np.array(1 - error), 1 - self.errors(BUDGETS)))
        return lines, math.log(20) - math.log((error - self.floor) / self.rival) / self.power

    def draw(self, generator: np.random.Generator, shape: tuple[int, int], ratios: list[float]) -> list[np.ndarray]:
        """Accuracies (repeats, seeds, budgets) of arms whose errors have these ratios to the rival's."""
        alike = np.linalg.cholesky(np.exp(-np.abs(LOGS[:, None] - LOGS) / 1.5)).T
        size = (*shape, len(BUDGETS))
        shared = generator.standard_normal(size) @ alike
        arms = []
        for ratio in ratios:
            labels = math.sqrt(0.6) * shared + math.sqrt(0.4) * (generator.standard_normal(size) @ alike)
            noise = self.noise * (labels + 0.5 * generator.standard_normal(size))
            factor = np.exp(noise - 1.25 * self.noise**2 / 2) if self.skewed else 1 + noise
            chances = np.clip(ratio * self.errors(BUDGETS) * factor, 0, 1)
            arms.append(1 - generator.binomial(INPUTS, chances) / INPUTS)
        return arms


SCENES = {
    "steep": Scene(0.40, 0.6, 0.0, 0.6, 0.15),
    "steep, skewed": Scene(0.40, 0.6, 0.0, 0.6, 0.30, skewed=True),
    "flat": Scene(0.10, 0.5, 0.02, 0.75, 0.20),
    "flat, skewed": Scene(0.10, 0.5, 0.02, 0.75, 0.35, skewed=True),
    "no difference": Scene(0.25, 0.5, 0.02, 1.0, 0.20),
}


def as_curve(name: str, accuracies: np.ndarray) -> Curve:
    """Of (seeds, budgets)."""
    columns = zip(BUDGETS.tolist(), accuracies.T.tolist(), strict=True)
    return Curve(name, {labels: dict(enumerate(column)) for labels, column in columns})


def used(place: int, arm: np.ndarray, *rivals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both ends as the package gives them, as log labels, (repeats,), of curves (repeats, seeds, budgets)."""
    labels, ends = int(BUDGETS[place]), []
    for one, *others in zip(arm, *rivals, strict=True):
        found = labels_saved(as_curve("arm", one), [as_curve("rival", other) for other in others], labels).interval
        assert found is not None
        ends.append([end if math.isinf(end) else math.log(labels + end) for end in found])
    low, high = np.array(ends).T
    return low, high


def held(low: np.ndarray, high: np.ndarray, truth: float) -> float:
    """Per cent."""
    return float(100 * np.mean((low <= truth + 1e-9) & (truth - 1e-9 <= high)))


def print_line(*cells: str) -> None:
    print(f"{cells[0]:{WIDTH}}" + "".join(f"{cell:>{WIDTH}}" for cell in cells[1:]))


def of_labels_saved(repeats: int) -> None:
    print(
        "Labels saved. Held: the crossing of lines (of true curves); open at an end; high ÷ low of the others, median"
    )
    print_line("", *(f"{seeds} seeds" for seeds in SEEDS))
    covered: dict[str, dict[int, list[float]]] = {}
    for number, (title, scene) in enumerate(SCENES.items()):
        for place in PLACES:
            cells = []
            for seeds in SEEDS:
                generator = np.random.default_rng([number, place, seeds])
                arm, rival = scene.draw(generator, (repeats, seeds), [scene.ratio, 1.0])
                lines, curves = scene.needed(place)
                low, high = used(place, arm, rival)
                closed = np.isfinite(low) & np.isfinite(high)
                width = f"{np.exp(np.median(high[closed] - low[closed])):.1f}" if closed.any() else "–"
                cells.append(
                    f"{held(low, high, lines):.1f} ({held(low, high, curves):.1f}) {100 * (1 - closed.mean()):.0f} {width}"
                )
                for name, *ends in ((USED, low, high), *other_intervals(arm, rival, place, generator)):
                    covered.setdefault(name, {}).setdefault(seeds, []).append(held(*ends, lines))
            print_line(f"{title}, {BUDGETS[place]} labels", *cells)
    print("\nEvery interval that was tried: mean over the above, and the lowest")
    for name, by_seeds in covered.items():
        print_line(name, *(f"{np.mean(found):.1f}, {min(found):.1f}" for found in by_seeds.values()))


def of_two_rivals(repeats: int) -> None:
    print("\nLabels saved against the better of two rivals, 200 labels, “steep”")
    scene, place = SCENES["steep"], 3
    lines, _ = scene.needed(place)
    for title, ratio in (("both are equal", 1.0), ("one has 1.2 × the errors", 1.2)):
        cells: dict[str, list[str]] = {}
        for seeds in SEEDS:
            generator = np.random.default_rng([round(10 * ratio), seeds])
            arm, good, worse = scene.draw(generator, (repeats, seeds), [scene.ratio, 1.0, ratio])
            best = np.where(((good - worse).mean((1, 2)) >= 0)[:, None, None], good, worse)
            for name, rivals in {
                "one, by these numbers": (best,),
                "one, the better": (good,),
                "one, the worse": (worse,),
                "both, the better first": (good, worse),
                "both, the worse first": (worse, good),
            }.items():
                low, high = used(place, arm, *rivals)
                cells.setdefault(name, []).append(
                    f"{held(low, high, lines):.1f}, above {100 * np.mean(low > lines + 1e-9):.1f}"
                )
        print(title)
        for name, found in cells.items():
            print_line(name, *found)


def of_means(repeats: int) -> None:
    print(
        "\nMean accuracy and paired difference (Student's t), false findings of the sign-flip test, alone and by Holm's method"
    )
    cells: dict[str, list[str]] = {}
    for seeds in SEEDS:
        means, differences, alone, together = [], [], [], []
        for number, scene in enumerate(SCENES.values()):
            arm, rival = scene.draw(np.random.default_rng([number, seeds]), (repeats, seeds), [scene.ratio, 1.0])
            equal, other = scene.draw(np.random.default_rng([number, seeds, 1]), (repeats // 5, seeds), [1.0, 1.0])
            off = intervals.t_quantile(seeds) / math.sqrt(seeds)
            for truth, values in (
                (1 - scene.errors(BUDGETS), rival),
                ((1 - scene.ratio) * scene.errors(BUDGETS), arm - rival),
            ):
                within = np.abs(values.mean(1) - truth) <= off * values.std(1, ddof=1) + 1e-12
                (means if values is rival else differences).append(100 * within.mean())
            for gaps in equal - other:  # (seeds, budgets)
                p_values = [intervals.sign_flip_p(column) for column in gaps.T]
                alone.append(np.mean(np.array(p_values) < 0.05))
                together.append(min(intervals.holm(p_values)) < 0.05)
        cells.setdefault("mean", []).append(f"{np.mean(means):.1f}, {min(means):.1f}")
        cells.setdefault("difference", []).append(f"{np.mean(differences):.1f}, {min(differences):.1f}")
        cells.setdefault("p < 0.05", []).append(f"{100 * np.mean(alone):.1f}")
        cells.setdefault("any of six, Holm", []).append(f"{100 * np.mean(together):.1f}")
    print_line("", *(f"{seeds} seeds" for seeds in SEEDS))
    for name, found in cells.items():
        print_line(name, *found)


def of_test_inputs() -> None:
    """Exact: every count of correct inputs, times its chance."""
    print(
        "\nAccuracy of one network for new test inputs (Wilson): mean over true accuracies of 60 % to 99 %, and the lowest"
    )
    counts = (100, 300, 1000)
    cells = []
    for inputs in counts:
        right = np.arange(inputs + 1)
        ends = np.array([wilson_interval(count / inputs, inputs) for count in right])
        found = []
        for truth in np.linspace(0.60, 0.99, 40):
            inside = (ends[:, 0] <= truth) & (truth <= ends[:, 1])
            found.append(100 * stats.binom.pmf(right[inside], inputs, truth).sum())
        cells.append(f"{np.mean(found):.1f}, {min(found):.1f}")
    print_line("", *(f"{inputs:,} inputs" for inputs in counts))
    print_line("Wilson", *cells)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=500, help="simulated sweeps for each number")
    repeats = parser.parse_args().repeats
    of_labels_saved(repeats)
    of_two_rivals(repeats)
    of_means(repeats)
    of_test_inputs()


if __name__ == "__main__":
    main()
