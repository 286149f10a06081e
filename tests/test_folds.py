"""Labels tested in folds: each once, by a classifier that did not see it."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import binomtest

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.data.folds import check_folds, folds_of, groups_of
from ssl_cli.data.intervals import cross_validated_interval, wilson_interval
from ssl_cli.data.types import Dataset, Split
from ssl_cli.errors import ConfigError
from ssl_cli.stages.finetune import finetune


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, 16, 16), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def dataset(images: torch.Tensor, labels: torch.Tensor, cases: torch.Tensor | None = None) -> Dataset:
    return Dataset(Split(images, labels), Split(images[:1], labels[:1]), ("a", "b"), cases)


def test_the_interval_is_wilsons_where_answers_are_independent():
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe (1998)
    expected = binomtest(55, 60).proportion_ci(0.95, method="wilson")
    assert wilson_interval(55 / 60, 60) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert wilson_interval(1.0, 10)[0] == pytest.approx(0.7224672, abs=1e-6)  # 1 / (1 + z² / 10), and not 1


def test_folds_that_share_training_data_count_as_fewer_answers():
    expected = binomtest(36, 40).proportion_ci(0.95, method="wilson")  # 90 answers in 5 folds: 90 / (1 + 5 / 4) = 40
    assert cross_validated_interval(0.9, 90, 5) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_interval_holds_the_accuracy_of_the_classifier_of_all_labels():
    source = np.random.default_rng(0)
    held, count, folds = 0, 60, 5

    def said(seen: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
        means = np.stack([seen[labels == number].mean(0) for number in range(3)])
        return ((asked[:, None] - means) ** 2).sum(2).argmin(1)

    for _ in range(200):
        centres = 0.4 * source.standard_normal((3, 10))
        labels, others = np.arange(count) % 3, np.arange(1500) % 3
        inputs, unseen = (centres[of] + source.standard_normal((len(of), 10)) for of in (labels, others))
        fold = folds_of(torch.from_numpy(labels), torch.arange(count), folds, int(source.integers(1000))).numpy()
        right = np.concatenate(
            [said(inputs[fold != k], labels[fold != k], inputs[fold == k]) == labels[fold == k] for k in range(folds)]
        )
        low, high = cross_validated_interval(float(right.mean()), count, folds)
        held += low <= (said(inputs, labels, unseen) == others).mean() <= high
    assert held >= 0.95 * 200


def test_each_class_is_in_each_fold_in_proportion_and_the_seed_decides():
    labels = torch.tensor([0] * 20 + [1] * 10)
    fold = folds_of(labels, torch.arange(30), 5, seed=0)
    for number in range(5):
        assert torch.bincount(labels[fold == number]).tolist() == [4, 2]
    assert torch.equal(fold, folds_of(labels, torch.arange(30), 5, seed=0))
    assert not torch.equal(fold, folds_of(labels, torch.arange(30), 5, seed=1))


def test_a_case_and_near_duplicates_are_in_one_fold():
    images = noise(24)
    images[5] = images[17]
    images[5, 0, 0, 0] ^= 1  # nearly the same
    cases = torch.arange(24)
    cases[[2, 9, 17]] = 2  # with 5, by way of 17
    data = dataset(images, torch.arange(24) % 2, cases)
    groups = groups_of(data, torch.arange(24))
    assert len(groups[[2, 5, 9, 17]].unique()) == 1
    assert len(groups.unique()) == 21
    fold = folds_of(data.train.labels, groups, 3, seed=0)
    assert len(fold[[2, 5, 9, 17]].unique()) == 1
    assert set(fold.tolist()) == {0, 1, 2}


def test_a_class_with_fewer_labels_than_folds_is_refused_in_a_sentence():
    labels = torch.tensor([0] * 20 + [1] * 4)
    with pytest.raises(
        ConfigError, match=r"^stage.folds=5: class b has 4 of the labels, .* use at most 4, or more labels$"
    ):
        check_folds(dataset(noise(24), labels), labels, torch.arange(24), 5)
    groups = torch.arange(24)
    groups[20:22] = 20
    with pytest.raises(ConfigError, match="class b has 4 of the labels, in 3 cases or groups of near duplicates"):
        check_folds(dataset(noise(24), labels), labels, groups, 4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stage.folds=1"], "stage.folds=1: must be 0, for none, or at least 2"),
        (["stage.folds=3", "stage.fold=3"], r"stage.fold=3: must be in \[0, 2\]"),
        (["stage.fold=0"], "stage.fold=0: needs stage.folds of at least 2"),
        (
            ["stage.folds=5", "schedule.supervised.select=best_test"],
            "select=best_test chooses weights on what is tested",
        ),
        (
            ["stage.folds=5", "budget.labels=40"],
            "budget.labels=40 gives 4 labels .* use at most 4, or budget.labels=50",
        ),
    ],
)
def test_folds_that_mean_nothing_are_refused(words, said):
    with pytest.raises(ConfigError, match=said):
        from_overrides("stage=baseline", "dataset=synthetic", *words)


def test_every_label_is_tested_once_by_a_classifier_that_did_not_see_it(smoke):
    config, run = smoke("stage=baseline", "budget.labels=40", "stage.folds=2")
    result = finetune(config, run)
    with (run.folder / "labels.csv").open() as file:
        budget = [row["item"] for row in csv.DictReader(file)]
    with (run.folder / "folds.csv").open() as file:
        tested = {row["input"]: row for row in csv.DictReader(file)}
    assert sorted(tested) == sorted(budget)
    for fold in range(2):
        with (run.folder / f"fold{fold}" / "labels.csv").open() as file:
            seen = {row["item"] for row in csv.DictReader(file)}
        own = {item for item, row in tested.items() if row["fold"] == str(fold)}
        assert seen | own == set(budget)
        assert not seen & own
        inner = json.loads((run.folder / f"fold{fold}" / "result.json").read_text())
        right = sum(tested[item]["class"] == tested[item]["predicted"] for item in own)
        assert inner["test_accuracy"] == round(right / len(own), 6) == result["folds"]["per_fold"][fold]["accuracy"]
    share = sum(row["class"] == row["predicted"] for row in tested.values()) / 40
    assert result["folds"]["accuracy"] == share
    assert result["folds"]["low"] < share < result["folds"]["high"]
    assert result["labels_trained_on"] > 0
    assert result["test_accuracy"] is not None  # the test inputs that are there are read as well


def test_without_a_fold_fewer_batches_are_left_and_too_few_are_refused_before_anything_is_trained(smoke):
    few = ("schedule.supervised.batch_size=20", "schedule.supervised.gradient_accumulation=2")
    config, run = smoke("stage=baseline", "budget.labels=40", "stage.folds=2", *few)
    with pytest.raises(
        ConfigError, match=r"^schedule.supervised.gradient_accumulation=2: without fold 0, .* has 1 batches"
    ):
        finetune(config, run)
    assert not (run.folder / "fold0").exists()


def test_a_fold_may_be_of_inputs_that_pretraining_saw_and_its_protocol_names_it(smoke, folder):
    words = [word for word in folder if not word.startswith("dataset.test_fraction")]
    config, run = smoke("stage=finetune", *words, "dataset.test_fraction=0.2", "stage.folds=2")
    finetune(config, run)
    inner = json.loads((run.folder / "fold1" / "result.json").read_text())
    assert not any("test inputs were training inputs" in caveat for caveat in inner["caveats"])
    assert inner["protocol"] == "the last weights; fold 1 of 2 tested in place of the test set"


def test_a_finished_fold_is_not_trained_again(smoke):
    config, run = smoke("stage=baseline", "budget.labels=40", "stage.folds=2")
    first = finetune(config, run)
    (run.folder / "result.json").unlink()
    before = (run.folder / "fold1" / "result.json").stat().st_mtime_ns
    assert finetune(config, run)["folds"] == first["folds"]
    assert (run.folder / "fold1" / "result.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:90])])
def test_lost_or_damaged_answers_of_a_finished_fold_are_one_sentence(smoke, damage):
    config, run = smoke("stage=baseline", "budget.labels=40", "stage.folds=2")
    finetune(config, run)
    (run.folder / "result.json").unlink()
    damage(run.folder / "fold1" / "fold_answers.npy")
    with pytest.raises(ConfigError, match=r"fold1/fold_answers.npy: .*; remove the folder fold1"):
        finetune(config, run)


@pytest.fixture
def folder(tmp_path):
    """40 images of 2 classes."""
    for number, image in enumerate(noise(40)[:, 0].numpy()):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return (
        "dataset=folder", f"dataset.root={tmp_path / 'photos'}", f"dataset.cache={tmp_path / 'cache'}", "schedule=smoke",
        "dataset.test_fraction=0", "budget=all", "backbone.width=4", "runtime.threads=1", "augment=none",
        "backbone=small",
    )  # fmt: skip


def test_with_folds_nothing_of_a_folder_is_held_out_and_the_run_predicts(cli, folder, tmp_path):
    done = cli("baseline", *folder, "stage.folds=2", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["labels"], result["test_accuracy"], result["macro_f1"]) == (40, None, None)
    folds = result["folds"]
    shown = f"Cross-validated {100 * folds['accuracy']:.1f} % ({100 * folds['low']:.0f}–{100 * folds['high']:.0f} %) over 2 folds"
    assert shown in done.stderr + done.stdout
    assert "each label tested once" in result["protocol"]
    assert cli("predict", "stage.run=run", "stage.inputs=photos", "hydra.run.dir=said").returncode == 0
    refused = cli("evaluate", "stage.run=run")
    assert refused.returncode == 2
    assert "its data set has no test inputs" in refused.stderr


def test_without_folds_a_data_set_without_test_inputs_is_refused_and_nothing_is_left(cli, folder, tmp_path):
    for stage in ("baseline", "compare"):
        done = cli(stage, *folder, "hydra.run.dir=run")
        assert done.returncode == 2
        assert f"has no test inputs, on which stage={stage} measures accuracy; hold some out" in done.stderr
        assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_sweep_has_a_row_for_each_run_and_none_for_its_folds(tmp_path, smoke):
    from ssl_cli.report.found_runs import read_runs
    from ssl_cli.report.sections import sections_of

    config, run = smoke("stage=baseline", "budget.labels=40", "stage.folds=2", folder="sweep/0")
    result = finetune(config, run)
    (section,) = sections_of(read_runs([tmp_path / "sweep"]).runs)
    assert ([one.run.folder for one in section.counted], section.measure) == ([run.folder], "test accuracy")
    untested = {**result, "test_accuracy": None, "macro_f1": None}
    (run.folder / "result.json").write_text(json.dumps(untested))
    (section,) = sections_of(read_runs([tmp_path / "sweep"]).runs)
    assert ([row["accuracies"] for row in section.rows], section.measure) == (
        [[result["folds"]["accuracy"]]],
        "cross-validated accuracy",
    )


def test_cases_of_the_data_set_stay_together(smoke):
    config, run = smoke("stage=baseline", "dataset=synthetic_cases", "budget=all", "stage.folds=2")
    finetune(config, run)
    cases = load(config.dataset).cases
    with (run.folder / "folds.csv").open() as file:
        where = {int(row["input"]): row["fold"] for row in csv.DictReader(file)}
    seen: dict[int, set[str]] = {}
    for item, fold in where.items():
        seen.setdefault(int(cases[item]), set()).add(fold)
    assert len(seen) < len(where)
    assert all(len(folds) == 1 for folds in seen.values())
