from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ssl_cli.config.schema import Budget
from ssl_cli.data.budget import choose, label_order
from ssl_cli.data.types import UNKNOWN, Dataset, Files, Split
from ssl_cli.errors import ConfigError
from ssl_cli.randomness import generator


def dataset(*class_sizes: int, unlabelled: int = 0) -> Dataset:
    labels = torch.cat([torch.full((size,), number) for number, size in enumerate(class_sizes)])
    labels = torch.cat([labels, torch.full((unlabelled,), UNKNOWN)])
    labels = labels[torch.randperm(len(labels), generator=generator(0, "test"))]
    inputs = torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8)
    return Dataset(Split(inputs, labels), Split(inputs, labels), tuple(f"c{n}" for n in range(len(class_sizes))))


def budget(kind: str, labels: int | None, fraction: float | None = None, validation: float = 0.0) -> Budget:
    return Budget(kind, labels, fraction, validation, "all")


@pytest.mark.parametrize("kind", ["balanced", "random", "first"])
def test_a_smaller_budget_lies_inside_a_larger_one(kind):
    data = dataset(60, 60, 60, 60)
    small, large = (choose(data, budget(kind, count), seed=3).all.tolist() for count in (20, 40))
    assert set(small) < set(large)


@pytest.mark.parametrize("kind", ["balanced", "random"])
def test_another_seed_chooses_other_labels(kind):
    data = dataset(60, 60)
    assert choose(data, budget(kind, 20), seed=0).hash() != choose(data, budget(kind, 20), seed=1).hash()
    assert choose(data, budget(kind, 20), seed=0).hash() == choose(data, budget(kind, 20), seed=0).hash()


@pytest.mark.parametrize("count", [4, 20, 22, 40])
def test_a_balanced_budget_differs_by_at_most_one_between_classes(count):
    data = dataset(10, 50, 90, 70)
    counts = torch.bincount(data.train.labels[choose(data, budget("balanced", count), seed=0).all], minlength=4)
    assert counts.sum() == count
    assert counts.max() - counts.min() <= 1


def test_a_balanced_budget_that_a_class_cannot_fill_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"class c0 has 10 labels; use at most 40"):
        choose(dataset(10, 50, 90, 70), budget("balanced", 60), seed=0)


def test_the_first_labels_are_those_of_the_file():
    data = dataset(30, 30, unlabelled=40)
    known = [item for item, label in enumerate(data.train.labels.tolist()) if label != UNKNOWN]
    assert choose(data, budget("first", 7), seed=5).train.tolist() == known[:7]


def test_a_fraction_takes_the_same_share_of_every_class():
    data = dataset(100, 300, 600)
    chosen = choose(data, budget("fraction", None, fraction=0.1), seed=0).all
    assert torch.bincount(data.train.labels[chosen]).tolist() == [10, 30, 60]


def test_items_without_a_label_are_never_chosen():
    data = dataset(20, 20, unlabelled=100)
    for kind in ("balanced", "random", "first", "fraction", "all"):
        order = label_order(data.train.labels, kind, generator(0, "x"))
        assert sorted(order.tolist()) == (data.train.labels != UNKNOWN).nonzero()[:, 0].tolist()


def test_validation_comes_out_of_the_budget():
    data = dataset(60, 60, 60, 60)
    chosen = choose(data, budget("balanced", 40, validation=0.25), seed=0)
    assert (len(chosen.train), len(chosen.validation), len(chosen)) == (30, 10, 40)
    assert not set(chosen.train.tolist()) & set(chosen.validation.tolist())
    without = choose(data, budget("balanced", 40), seed=0)
    assert set(chosen.all.tolist()) == set(without.all.tolist())


def listed(table: Path, labels: int | None = None) -> Budget:
    return Budget("listed", labels, None, 0.0, "all", table)


def test_a_listed_budget_is_the_list_in_its_order(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("\ufeffitem,reason\n7,a\n3,b\n11,c\n", encoding="utf-8")
    data = dataset(10, 10)
    assert choose(data, listed(table), seed=0).all.tolist() == [7, 3, 11]
    assert choose(data, listed(table, 2), seed=5).all.tolist() == [7, 3]
    with pytest.raises(ConfigError, match=r"budget\.labels=4: budget\.file lists 3 labelled inputs"):
        choose(data, listed(table, 4), seed=0)


def test_paths_count_where_the_data_have_files(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text(f"item,path\n0,b/3.png\n0,{tmp_path / 'a/1.png'}\n")
    files = Files(str(tmp_path), ["a/1.png", "x.png", "b/3.png"], ["t.png"], [("twice.png", "the same as x.png")], True)
    data = replace(dataset(2, 1), files=files)
    assert choose(data, listed(table), seed=0).all.tolist() == [2, 0]
    for name, why in (
        ("t.png", "for the test"),
        ("twice.png", "left out: the same as x.png"),
        ("no.png", "not in dataset.root"),
    ):
        table.write_text(f"path\n{name}\n")
        with pytest.raises(ConfigError, match=f"lists {name}, which is {why}"):
            choose(data, listed(table), seed=0)


def test_a_listed_input_without_a_label_is_refused(tmp_path):
    table = tmp_path / "list.csv"
    data = dataset(5, 5, unlabelled=10)
    item = (data.train.labels == UNKNOWN).nonzero()[0].item()
    table.write_text(f"item\n{item}\n")
    with pytest.raises(ConfigError, match=f"lists 1 inputs whose label dataset= does not know, such as item {item}"):
        choose(data, listed(table), seed=0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must be CSV with a column path or item; its first line has nothing"),
        ("item\n", "lists no input"),
        ("item\n-1\n", "row 2 has item '-1'; must be a whole number at least 0"),
        (f"item\n{'9' * 5000}\n", f"row 2 has item '{'9' * 18}'; must be a whole number at least 0"),
        ("item,path\n,\n", "row 2 has neither a path nor an item"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(text, sentence, tmp_path):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        choose(dataset(5, 5), listed(tmp_path / "list.csv"), seed=0)
