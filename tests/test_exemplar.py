import math
from dataclasses import replace

import pytest
import torch

from ssl_cli.config import from_overrides
from ssl_cli.data.budget import choose
from ssl_cli.data.datasets import load
from ssl_cli.methods.exemplar import Exemplar
from ssl_cli.runs import read_metrics
from ssl_cli.stages import pretrain as stage
from ssl_cli.stages.pretrain import numbered, pretrain, pretraining_method


def made(*overrides: str) -> Exemplar:
    config = from_overrides("method=exemplar", "dataset=synthetic", "backbone.width=4", *overrides)
    return pretraining_method(config, load(config.dataset))


@pytest.mark.parametrize("items", [None, torch.arange(3, 80, 2)])
def test_a_seeds_number_is_its_own_and_stays(items):
    drawn, numbers = numbered(items, 20, 100, seed=4)
    assert len(set(drawn.tolist())) == 20
    assert numbers[drawn].tolist() == list(range(20))
    assert (numbers >= 0).sum() == 20
    assert items is None or set(drawn.tolist()) <= set(items.tolist())
    for one, other in zip(numbered(items, 20, 100, seed=4), (drawn, numbers), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(numbered(items, 20, 100, seed=5)[0], drawn)


def test_there_are_no_more_classes_than_inputs():
    assert made().seeds == made().classify.out_features == 256
    assert made("method.seeds=7").seeds == 7
    assert made("budget=first", "budget.labels=56", "budget.pretrain_on=rest").seeds == 200


def test_who_cannot_know_pays_the_log_of_the_seeds():
    method = made()
    torch.nn.init.zeros_(method.classify.weight)
    torch.nn.init.zeros_(method.classify.bias)
    loss, numbers = method.loss((torch.rand(8, 1, 28, 28),), torch.arange(8))
    assert loss.item() == pytest.approx(math.log(256), abs=1e-5)
    assert numbers["pretext_accuracy"] == 1 / 8
    assert numbers["spread"] > 0


def test_seeds_are_learnt_from_views_and_known_again_in_new_ones(smoke):
    config, run = smoke(
        "method=exemplar", "stage=pretrain", "method.seeds=12", "schedule.pretrain.max_steps=null",
        "schedule.pretrain.epochs=60", "schedule.pretrain.batch_size=12", "schedule.pretrain.optimiser.lr=0.01",
        "schedule.pretrain.evaluate_every=0", "augment=none", "augment.pretrain.affine.p=1", "augment.pretrain.affine.shift=0.05",
    )  # fmt: skip
    result = pretrain(config, run)
    assert result["inputs"] == 12
    lines = read_metrics(run.folder)
    assert lines[0]["pretext_accuracy"] < 0.5 < lines[-1]["pretext_accuracy"]


def test_no_true_label_reaches_the_method(smoke, monkeypatch):
    def forgetful(target):
        dataset = load(target)
        return replace(dataset, train=replace(dataset.train, labels=torch.full_like(dataset.train.labels, -1)))

    losses = []
    for folder, reads in (("with", load), ("without", forgetful)):
        monkeypatch.setattr(stage, "load", reads)
        config, run = smoke("method=exemplar", "stage=pretrain", "schedule.pretrain.evaluate_every=0", folder=folder)
        losses.append(pretrain(config, run)["loss"])
    assert losses[0] == losses[1]


def test_inputs_of_the_budget_can_be_left_out(smoke, monkeypatch):
    config, _ = smoke("method=exemplar", "stage=pretrain", "budget.labels=56", "budget.pretrain_on=rest")
    dataset = load(config.dataset)
    budget = set(choose(dataset, config.budget, config.seed).all.tolist())
    drawn, _ = numbered(stage._inputs(dataset, config), 200, 256, config.seed)
    assert len(drawn) == 200
    assert not budget & set(drawn.tolist())
