import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_cli.augment.views import encode
from ssl_cli.config.build import build
from ssl_cli.config.compose import from_overrides
from ssl_cli.data.batches import CaseBatches
from ssl_cli.data.dataset import load
from ssl_cli.data.types import Dataset, Split
from ssl_cli.errors import ConfigError
from ssl_cli.methods.base import Method
from ssl_cli.randomness import Draws
from ssl_cli.report import pictures
from ssl_cli.stages.networks import pretraining_method
from ssl_cli.stages.pretrain import pretrain
from ssl_cli.training.device import machine
from ssl_cli.training.evaluate import knn_monitor
from ssl_cli.training.step import prepare

CASES = torch.tensor([7, 3, 7, 50, 3, 7, 9, 3, 50, 7, 1])  # 7: 4 inputs, 3: 3, 50: 2, 9 and 1: one each


def pairs(cases: Tensor = CASES, size: int = 2, **options) -> CaseBatches:
    """Batches of inputs that are their own numbers."""
    inputs = torch.arange(len(cases), dtype=torch.uint8)[:, None, None, None]
    order, seed = options.pop("order", "shuffle"), options.pop("seed", 0)
    return CaseBatches(inputs, cases, options.pop("items", None), size, order, seed, **options)


def numbers(inputs: Tensor) -> Tensor:
    return inputs.flatten().long()


def test_a_partner_is_another_input_of_the_same_case():
    source, met = pairs(size=5), set()
    for step in range(200):
        batch = source.at(step)
        one, other = numbers(batch.inputs), numbers(batch.partners)
        assert torch.equal(CASES[one], CASES[other])
        several = torch.bincount(CASES)[CASES[one]] > 1
        assert torch.equal(one != other, several)
        met |= set(zip(one.tolist(), other.tolist(), strict=True))
    # Every ordered pair of a case: 4 · 3 + 3 · 2 + 2 · 1, and the two that stand alone.
    assert len(met) == 12 + 6 + 2 + 2


def test_no_case_is_twice_in_an_epoch():
    source = pairs(size=2)
    assert (source.steps_per_epoch, source.size, source.count) == (2, 2, 11)
    for epoch in range(10):
        seen = torch.cat([CASES[numbers(source.at(2 * epoch + step).inputs)] for step in range(2)])
        assert len(seen.unique()) == 4


def test_a_batch_of_pairs_is_a_function_of_the_step():
    forwards = [(source := pairs()).at(step).partners for step in range(6)]
    backwards = [source.at(step).partners for step in reversed(range(6))][::-1]
    assert all(torch.equal(one, other) for one, other in zip(forwards, backwards, strict=True))
    one, other = (pairs(size=5, order="file", seed=seed) for seed in (0, 1))  # the same cases, other pairs
    assert not all(torch.equal(one.at(step).partners, other.at(step).partners) for step in range(6))


def test_only_the_chosen_inputs_are_paired():
    items = torch.tensor([1, 2, 4, 5])
    seen = [source for step in range(20) for source in numbers(pairs(items=items, size=3).at(step).partners).tolist()]
    assert set(seen) == {1, 2, 4, 5}
    assert pairs(items=items).count == 4


def as_stored(inputs, device):
    return encode(inputs.to(device), 1.0)


def prepared_pairs(*overrides: str, cases: Tensor | None = None):
    config = from_overrides("dataset=synthetic_cases", "method=micle", "backbone.width=4", *overrides)
    dataset = load(config.dataset)
    dataset = dataset if cases is None else replace(dataset, cases=cases)
    method = pretraining_method(config, dataset)
    views = build(config.augment.pretrain, scale=1.0)
    batches = CaseBatches(dataset.train.inputs, dataset.cases, None, 16, "shuffle", 0)
    return method, batches, prepare(batches, views, method, 3, 0, machine(config.runtime))[0]


def test_one_view_is_of_the_input_and_the_other_of_its_partner():
    _, batches, (first, second) = prepared_pairs("augment=none", "runtime.threads=1")
    batch = batches.at(3)
    assert torch.equal(first, encode(batch.inputs, 1.0))
    assert torch.equal(second, encode(batch.partners, 1.0))
    assert not torch.equal(first, second)


def test_micle_is_simclr_where_every_case_has_one_input():
    alone = torch.arange(2048)
    method, batches, (first, second) = prepared_pairs("method.temperature=0.3", "runtime.threads=1", cases=alone)
    batch = batches.at(3)
    assert torch.equal(batch.inputs, batch.partners)
    assert not torch.equal(first, second)  # each has its own draw
    simclr_config = from_overrides("dataset=synthetic_cases", "backbone.width=4", "method.temperature=0.3")
    simclr = pretraining_method(simclr_config, load(simclr_config.dataset))
    assert torch.equal(
        method.loss((first, second), None, Draws(0, "test"))[0], simclr.loss((first, second), None, Draws(0, "test"))[0]
    )


def test_cases_reach_the_training(smoke):
    config, run = smoke("dataset=synthetic_cases", "method=micle", "stage=pretrain", "schedule.pretrain.batch_size=512")
    result = pretrain(config, run)
    assert result["inputs"] == 2048
    assert result["steps"] == 1  # an epoch is one batch of all 512 cases, not four of 512 inputs


def test_a_data_set_without_cases_is_refused_before_anything_is_read(fitting, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for stage in ("pretrain", "compare"):
        with pytest.raises(ConfigError, match="method=micle: the data set has no cases; use dataset=synthetic_cases"):
            fitting(f"stage={stage}", "dataset=synthetic", "method=micle")


def test_shots_of_an_object_do_not_vote_on_each_other():
    cases = torch.arange(60) % 20
    labels = torch.randint(2, (20,), generator=torch.Generator().manual_seed(0))[cases]
    # Features that know the object and nothing of its class.
    split = Split(torch.eye(20)[cases] + 0.1, labels)
    here = machine(from_overrides("runtime.threads=1", "runtime.precision=float32").runtime)
    method = Method(nn.Identity())
    assert knn_monitor(split, None, as_stored, here, 0)(method)["knn_accuracy"] == 1
    assert knn_monitor(split, cases, as_stored, here, 0)(method)["knn_accuracy"] < 0.9


# Where cases come from


def arrays(root: Path, cases: np.ndarray | None) -> tuple[object, Dataset]:
    for part, count in (("train", 12), ("test", 4)):
        np.save(root / f"{part}_inputs.npy", np.random.default_rng(0).integers(0, 255, (count, 28, 28), np.uint8))
        np.save(root / f"{part}_labels.npy", np.arange(count) % 3)
    if cases is not None:
        np.save(root / "train_cases.npy", cases)
    config = from_overrides("dataset=arrays", f"dataset.root={root}", "method=micle", "budget.labels=6")
    return config, load(config.dataset)


def test_your_own_cases_are_read_and_an_input_without_one_stands_alone(tmp_path):
    _, data = arrays(tmp_path, np.array([5, 5, -1, 9, -1, 9, 9, 0, 0, 0, 0, 5]))
    assert data.cases.tolist() == [5, 5, 10, 9, 11, 9, 9, 0, 0, 0, 0, 5]


def test_your_own_inputs_without_cases_are_refused(tmp_path):
    config, data = arrays(tmp_path, None)
    assert data.cases is None
    with pytest.raises(
        ConfigError,
        match="micle: the data set has no cases; use dataset=synthetic_cases, or dataset=arrays with train_cases",
    ):
        pretraining_method(config, data)


def test_cases_that_do_not_fit_the_inputs_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"train_cases.npy holds int64 of shape \(11,\); it must be 12 integers"):
        arrays(tmp_path, np.arange(11))


def test_other_cases_are_another_pretraining():
    data = load(from_overrides("dataset=synthetic_cases").dataset)
    assert data.fingerprint() != replace(data, cases=data.cases.flip(0)).fingerprint()


def test_synthetic_cases_are_a_nuisance_and_no_labels():
    data = load(from_overrides("dataset=synthetic_cases").dataset)
    labels = torch.full((512,), -1)
    labels[data.cases] = data.train.labels
    assert torch.equal(labels[data.cases], data.train.labels)  # one label a case
    assert torch.bincount(labels).min() >= 51  # and many cases a label
    assert torch.bincount(data.cases).tolist() == [4] * 512
    pixels = encode(data.train.inputs, 1.0).flatten(1)
    of_case = torch.zeros(512, pixels.shape[1]).index_add(0, data.cases, pixels) / 4
    within = (pixels - of_case[data.cases]).square().mean()
    assert within > of_case.var(0).mean()  # shots of an object differ more than objects do


def test_what_the_settings_say_of_cases_is_compared_with_what_is_read():
    with pytest.raises(ConfigError, match=r"dataset\.facts\.cases=3000: must be in \[1, 2048\]"):
        load(from_overrides("dataset=synthetic_cases", "dataset.facts.cases=3000").dataset)
    with pytest.raises(
        ConfigError, match=r"dataset\.facts\.cases=5: must be 0, since no inputs that are made here belong"
    ):
        load(from_overrides("dataset=synthetic", "dataset.facts.cases=5").dataset)
    with pytest.raises(ConfigError, match=r"dataset\.facts\.cases=5: dataset=mnist5k as read has 0"):
        load(from_overrides("dataset=mnist5k", "dataset.facts.cases=5").dataset)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("dataset=synthetic dataset.facts.cases=5", "dataset.facts.cases=5: must be 0"),
        (
            "dataset=synthetic dataset.facts.shape=null",
            "dataset.facts.shape=null: must be given, since the data is made",
        ),
        ("dataset=synthetic_cases dataset.facts.cases=3000", "dataset.facts.cases=3000: must be in [1, 2048]"),
        ("dataset=synthetic_cases dataset.facts.cases=0", "dataset.facts.cases=0: must be in [1, 2048]"),
        (
            "method=transfer dataset@method.source=synthetic method.source.facts.cases=5",
            "dataset=synthetic: dataset.facts.cases=5: must be 0",
        ),
    ],
)
def test_facts_that_made_data_would_contradict_are_found_before_it_is_made(fitting, words, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        fitting("stage=pretrain", "budget.labels=20", *words.split())


def test_the_picture_of_views_shows_both_inputs_of_a_case(smoke, monkeypatch):
    shown = {}
    monkeypatch.setattr(pictures, "save_rows", lambda rows, path: shown.update({path.name: rows}))
    config, run = smoke("dataset=synthetic_cases", "method=micle", "stage=pretrain", "augment=none")
    pretrain(config, run)
    one, view, other, other_view = shown["views.png"].values()
    assert len(one) == 10
    assert torch.equal(one, view)  # without augmentation a view is the input
    assert torch.equal(other, other_view)
    data = load(config.dataset)
    case = {
        encode(image, 1.0).numpy().tobytes(): int(c) for image, c in zip(data.train.inputs, data.cases, strict=True)
    }
    first, second = ([case[image.numpy().tobytes()] for image in row] for row in (one, other))
    assert first == second
    assert len(set(first)) == 10
    assert not any(torch.equal(*pair) for pair in zip(one, other, strict=True))
