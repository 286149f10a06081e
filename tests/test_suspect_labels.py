"""Labels that look wrong are listed, by what did not see them; and test inputs are mapped before and after pre-training."""

import csv
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_cli.data.budget import drawn
from ssl_cli.data.dataset import load
from ssl_cli.report.feature_map import save_maps
from ssl_cli.stages import suspect_labels
from ssl_cli.stages.compare import compare
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.probe import probe
from ssl_cli.training.label_errors import likely_classes, out_of_fold_probabilities

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "label_errors.py"


@pytest.fixture(scope="module")
def flipped():
    spec = importlib.util.spec_from_file_location("label_errors", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_label_is_suspect_where_another_class_reaches_its_mean_confidence():
    probabilities = torch.tensor(
        [
            [0.9, 0.1],  # of class 0, whose mean confidence is 0.55
            [0.7, 0.3],
            [0.05, 0.95],  # reaches class 1's: suspect
            [0.1, 0.9],  # of class 1, whose mean confidence is 0.6
            [0.3, 0.7],
            [0.8, 0.2],  # reaches class 0's: suspect
        ]
    )
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    assert likely_classes(probabilities, labels).tolist() == [0, 0, 1, 1, 1, 0]


def test_a_class_of_which_nothing_is_sure_needs_less_confidence_and_a_sure_one_more():
    unsure = torch.tensor(
        [[0.5, 0.45, 0.05], [0.5, 0.45, 0.05], [0.55, 0.4, 0.05], [0.3, 0.6, 0.1], [0.02, 0.03, 0.95]]
    )
    labels = torch.tensor([0, 0, 0, 0, 2])
    # Class 1 has no label, so nothing can be meant to be it; class 2 is reached by its own alone.
    assert likely_classes(unsure, labels).tolist() == [0, 0, 0, 0, 2]
    labels = torch.tensor([0, 0, 0, 1, 2])
    assert likely_classes(unsure[[0, 1, 2, 3, 4]], labels).tolist() == [0, 0, 0, 1, 2]
    almost = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.1, 0.9]])
    assert likely_classes(almost, torch.tensor([0, 0, 0, 1, 1])).tolist() == [0, 0, 0, 1, 1]  # 0.6 is less than 0.9


def test_probabilities_are_of_a_regression_that_did_not_see_the_label():
    features = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    labels, fold = torch.arange(60) % 2, torch.arange(60) % 5
    before = out_of_fold_probabilities(features, labels, fold)
    changed = labels.clone()
    changed[fold == 2] = 1 - changed[fold == 2]
    after = out_of_fold_probabilities(features, changed, fold)
    assert torch.equal(before[fold == 2], after[fold == 2])
    assert not torch.equal(before[fold == 3], after[fold == 3])


def test_a_class_in_a_single_fold_is_not_examined(smoke, monkeypatch):
    config, _ = smoke("stage=finetune")
    dataset = load(config.dataset)
    items = torch.arange(60)
    labels = dataset.train.labels[items]
    together = torch.where(labels == 0, 0, torch.arange(60) % 3)  # as cases of several classes make it
    monkeypatch.setattr(suspect_labels, "folds_of", lambda *_: together)
    kept, fold = suspect_labels._in_folds(dataset, items, seed=0)
    assert torch.equal(kept, items[labels != 0])
    assert torch.equal(fold, together[labels != 0])
    monkeypatch.setattr(suspect_labels, "folds_of", lambda labels, *_: labels)
    assert not len(suspect_labels._in_folds(dataset, items, seed=0)[0])


def test_labels_that_were_changed_on_purpose_are_found(cli, tmp_path, flipped):
    wrong = flipped.write_digits(tmp_path / "digits", every=2)
    done = cli(
        "finetune", *flipped.WORDS, "dataset.root=digits", "schedule.pretrain.max_steps=60",
        "schedule.supervised.max_steps=20", "runtime.threads=1", "hydra.run.dir=run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    precision, recall = flipped.measured(wrong, flipped.found_in(tmp_path / "run"))
    assert precision > 0.75  # by chance 0.1
    assert recall > 0.6
    with (tmp_path / "run" / "suspect_labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels = np.load(tmp_path / "digits" / "train_labels.npy")
    assert all(row["given class"] == str(labels[int(row["input"])]) != row["likelier class"] for row in rows)
    assert {int(row["input"]) for row in rows[:20]} <= wrong  # the most certain ones come first
    assert (tmp_path / "run" / "suspect_labels.png").stat().st_size > 0
    assert f"{len(rows)} of 2,000 labels look wrong (suspect_labels.csv)" in done.stdout + done.stderr
    with Image.open(tmp_path / "run" / "feature_map.png") as picture:
        assert picture.width > 1.5 * picture.height


def test_a_baseline_without_a_pretraining_says_where_to_get_them_and_folds_give_them(smoke):
    config, run = smoke("stage=baseline", "budget.labels=40")
    alone = finetune(config, run)
    assert alone["suspect_labels"] is None
    assert not (run.folder / "suspect_labels.csv").exists()
    assert "stage.folds=5" in suspect_labels.in_words(alone["suspect_labels"])
    config, run = smoke("stage=baseline", "budget.labels=40", "stage.folds=2", folder="folds")
    found = finetune(config, run)["suspect_labels"]
    assert (found["examined"], found["by"]) == (40, "classifiers of 2 folds")
    with (run.folder / "suspect_labels.csv").open() as file:
        assert len(list(csv.DictReader(file))) == found["found"]
    assert not (run.folder / "fold0" / "suspect_labels.csv").exists()


def test_no_more_labels_are_examined_than_are_cheap_and_the_run_says_so(smoke, monkeypatch, caplog):
    monkeypatch.setattr(suspect_labels, "EXAMINED", 30)
    config, run = smoke("stage=finetune", "budget.labels=100")
    with caplog.at_level("INFO", "ssl_cli"):
        found = finetune(config, run)["suspect_labels"]
    assert found["examined"] <= 30
    assert f"of 100 labels, {found['examined']} were examined for mistakes" in caplog.text
    classes = [number % 10 for number in drawn(torch.arange(1000), 100, seed=0).tolist()]
    assert len(set(classes)) == 10  # each n-th label of a balanced budget can be of one class


def test_a_class_with_one_label_is_not_examined(smoke):
    config, run = smoke("stage=finetune", "budget.labels=10")
    assert finetune(config, run)["suspect_labels"] == {
        "found": 0, "examined": 0, "by": "pre-trained features", "agreement": None
    }  # fmt: skip


@pytest.mark.parametrize(
    ("agreement", "said"), [(0.69, "cannot be said: pre-trained"), (0.71, "9 of 20 labels look wrong")]
)
def test_what_knows_too_little_is_not_believed(agreement, said):
    found = {"found": 9, "examined": 20, "by": "pre-trained features", "agreement": agreement}
    assert said in suspect_labels.in_words(found)


def test_texts_are_shown_beside_their_labels(smoke, monkeypatch):
    config, run = smoke(
        "stage=finetune", "dataset=commands", "augment=text", "backbone=bag", "head=linear", "budget.labels=60",
        "dataset.cache=" + str(Path.home() / ".cache" / "ssl_cli"), "stage.folds=2",
    )  # fmt: skip
    found = finetune(config, run)["suspect_labels"]
    with (run.folder / "suspect_labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == found["found"] > 0
    assert all(row["text"] for row in rows)
    assert not (run.folder / "suspect_labels.png").exists()


def test_the_report_of_a_comparison_has_the_map_and_the_labels_that_look_wrong(smoke):
    config, run = smoke("stage=compare")
    compare(config, run)
    page = (run.folder / "report.html").read_text()
    assert "Features of test inputs, before and after pre-training" in page
    shown = re.findall("<figcaption>On the test set: (.*), 200 labels, seed 0<", page)
    folders = {json.loads(path.read_text())["arm"]: path.parent for path in run.folder.glob("seed0/*/result.json")}
    there = any((folders[arm] / "suspect_labels.png").exists() for arm in shown)
    assert len(shown) == 2
    assert ("<figcaption>Labels that look wrong: " in page) == there
    assert not (run.folder / "seed0" / "new-head" / "feature_map.png").exists()  # one for all arms


def test_a_probe_has_the_map_too(smoke):
    config, run = smoke("stage=probe")
    probe(config, run)
    assert (run.folder / "feature_map.png").stat().st_size > 0


def test_both_maps_show_each_input_and_name_each_class_once(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("ssl_cli.report.feature_map.save_figure", lambda figure, path: drawn.append(figure))
    labels = torch.tensor([0, 1, 1, 0, 1])
    panels = [("before", np.zeros((5, 2))), ("after", np.ones((5, 2)))]
    save_maps(panels, labels, ("cat", "$dog$"), "five inputs", tmp_path / "map.png")
    left, right = drawn[0].axes
    assert [axis.get_title() for axis in (left, right)] == ["before", "after"]
    assert [sum(len(dots.get_offsets()) for dots in axis.collections) for axis in (left, right)] == [5, 5]
    assert left.get_legend() is None
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["cat (2)", r"\$dog\$ (3)"]
