import csv
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from metrics_of_runs import read_metrics
from safetensors.torch import load_file
from torch import nn

from ssl_cli.augment.views import encode
from ssl_cli.config.build import build
from ssl_cli.config.compose import from_overrides
from ssl_cli.data.budget import choose
from ssl_cli.data.dataset import load
from ssl_cli.data.types import UNKNOWN
from ssl_cli.errors import ConfigError
from ssl_cli.methods import exemplar
from ssl_cli.methods.exemplar import Exemplar, cluster, draw_seeds
from ssl_cli.randomness import Draws, generator
from ssl_cli.runs.run import Run
from ssl_cli.stages import fit
from ssl_cli.stages.compare import compare
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.identity import pretraining_identity
from ssl_cli.stages.networks import pretraining_method
from ssl_cli.stages.pretrain import material, pretrain
from ssl_cli.training.device import machine
from ssl_cli.training.evaluate import outputs
from ssl_cli.training.surrogates import features_by


def made(*overrides: str) -> Exemplar:
    config = from_overrides("method=exemplar", "dataset=synthetic", "backbone.width=4", *overrides)
    return pretraining_method(config, load(config.dataset))


def nothing(name: str | Path) -> torch.Tensor:
    raise AssertionError("seeds need no features")


def test_a_seeds_number_is_its_own_and_stays():
    classes = made("method.seeds=20").surrogate_classes(100, nothing, generator(4, "s"))
    assert sorted(classes[classes != UNKNOWN].tolist()) == list(range(20))
    assert len(classes) == 100
    assert torch.equal(draw_seeds(100, 20, generator(4, "s")), classes)
    assert not torch.equal(draw_seeds(100, 20, generator(5, "s")), classes)


def test_there_are_no_more_classes_than_inputs():
    assert made().classes == made().classify.out_features == 256
    assert made("method.seeds=7").classes == 7
    assert made("budget=first", "budget.labels=56", "budget.pretrain_on=rest", "schedule=smoke").classes == 200
    assert made("method.clusters=9").classify.out_features == 9


def test_clusters_are_of_inputs_that_differ_from_the_mean_in_one_direction():
    torch.manual_seed(0)
    group = torch.arange(400) % 4  # right, up, left, down
    strength = torch.tensor([40.0, 4.0])[group % 2] * (0.05 + torch.rand(100, 2).repeat(1, 2).flatten())
    directions = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])[group]
    features = strength[:, None] * directions + 0.001 * torch.randn(400, 3) + torch.tensor([0, 0, 100.0])
    classes = cluster(features, 4, generator(0, "s"))
    assert torch.equal(classes[:, None] == classes, group[:, None] == group)
    assert torch.equal(cluster(features, 4, generator(0, "s")), classes)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_equal_inputs_are_in_one_cluster():
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(10, 1)
    classes = cluster(features, 5, generator(0, "s"))
    assert torch.equal(classes[:, None] == classes, (torch.arange(20)[:, None] - torch.arange(20)) % 2 == 0)


def test_many_inputs_are_clustered_too(monkeypatch):
    monkeypatch.setattr(exemplar, "MINI_BATCH_FROM", 100)
    torch.manual_seed(0)
    group = torch.randint(3, (2000,))
    classes = cluster(torch.eye(3)[group] + 0.01 * torch.randn(2000, 3), 3, generator(0, "s"))
    assert torch.equal(classes[:, None] == classes, group[:, None] == group)


def test_all_inputs_take_part_in_clusters_and_the_run_says_in_which(smoke):
    config, run = smoke("method=exemplar", "stage=pretrain", "method.clusters=6", "budget.labels=56",
                        "budget.pretrain_on=rest")  # fmt: skip
    result = pretrain(config, run)
    assert (result["inputs"], result["surrogate_classes"]) == (200, 6)
    rows = list(csv.DictReader((run.folder / "classes.csv").read_text().splitlines()))
    budget = set(choose(load(config.dataset), config.budget, config.seed).all.tolist())
    assert {int(row["item"]) for row in rows} == set(range(256)) - budget
    assert {int(row["class"]) for row in rows} == set(range(6))
    assert (run.folder / "classes.png").stat().st_size > 1000


def test_an_interrupted_run_goes_on_with_its_classes_to_the_same_bytes(smoke, monkeypatch):
    settings = ("method=exemplar", "stage=pretrain", "method.clusters=6", "runtime.checkpoint_seconds=0")
    pretrain(*smoke(*settings, folder="whole"))
    config, run = smoke(*settings, folder="stopped")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Exemplar, "after_step", lambda _self, step, _steps: step and killed())
    with pytest.raises(KeyboardInterrupt):
        pretrain(config, run)
    monkeypatch.undo()
    monkeypatch.delattr(Exemplar, "surrogate_classes")  # it looks for none again
    pretrain(config, Run(run.folder, config))
    for name in ("classes.csv", "classes.png", "metrics.jsonl", "backbone.safetensors"):
        assert (run.folder / name).read_bytes() == (run.folder.parent / "whole" / name).read_bytes()


def test_features_are_those_of_the_backbone_asked_for(smoke, tmp_path):
    pretrain(*smoke("method=autoencoder", "method.width=4", "stage=pretrain", "augment.scale=2", folder="first"))
    config, run = smoke("method=exemplar", "stage=pretrain", "method.clusters=5", f"method.features={tmp_path / 'first'}",
                        "backbone.width=6")  # fmt: skip
    dataset, here = load(config.dataset), machine(config.runtime)
    theirs = pretraining_method(from_overrides("dataset=synthetic", "backbone.width=4"), dataset).backbone
    theirs.load_state_dict(load_file(tmp_path / "first/backbone.safetensors"))
    features = features_by(tmp_path / "first", dataset.train.inputs, dataset, here)
    torch.testing.assert_close(
        features, outputs(theirs, dataset.train.inputs, lambda inputs, device: encode(inputs.to(device), 2.0), here)
    )
    pretrain(config, run)
    rows = list(csv.DictReader((run.folder / "classes.csv").read_text().splitlines()))
    wanted = cluster(features, 5, generator(config.seed, "surrogate classes"))
    assert [int(row["class"]) for row in rows] == wanted.tolist()
    assert not torch.equal(
        wanted, cluster(dataset.train.inputs.flatten(1).float(), 5, generator(0, "surrogate classes"))
    )


def test_a_pretraining_is_known_by_whose_features_it_learnt_from_and_not_by_their_place(smoke, tmp_path):
    for folder, seed in (("one", 0), ("other", 1)):
        pretrain(*smoke("method=rotation", "stage=pretrain", f"seed={seed}", folder=folder))
    shutil.copytree(tmp_path / "one", tmp_path / "moved")

    def hashed(features: Path) -> str:
        config = from_overrides(
            "method=exemplar", "dataset=synthetic", "method.clusters=5", f"method.features={features}"
        )
        return pretraining_identity(config, load(config.dataset), machine(config.runtime))

    assert hashed(tmp_path / "one") == hashed(tmp_path / "moved")
    assert len({hashed(tmp_path / "one"), hashed(tmp_path / "other"), hashed(Path("pixels"))}) == 3


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["method.clusters=257"], "clusters=257: there are 256 inputs to pre-train on; at most that many"),
        (
            ["method.clusters=201", "schedule.pretrain.batch_size=100", "budget.labels=56", "budget.pretrain_on=rest"],
            "clusters=201: there are 200 inputs to pre-train on; at most that many",
        ),
        (["method.clusters=1"], "method.clusters=1: must be at least 2"),
        (["method.features=somewhere"], "is for k-means; set method.clusters to a number of clusters"),
        (["method.features=3", "method.clusters=3"], "method.features=3: must be pixels or a path"),
    ],
)
def test_clusters_that_cannot_be_are_refused(fitting, overrides, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        fitting("method=exemplar", "dataset=synthetic", *overrides)


def test_more_clusters_than_inputs_that_turn_out_to_be_there_are_refused():
    config = from_overrides("method=exemplar", "dataset=synthetic", "method.clusters=250")
    with pytest.raises(ConfigError, match="exemplar: clusters=250: there are 200 inputs to pre-train on"):
        build(config.method, backbone=nn.Identity(), head=None, inputs=200)


@pytest.mark.parametrize(("stage", "carry_out"), [("pretrain", pretrain), ("finetune", finetune), ("compare", compare)])
def test_features_of_no_pretraining_are_refused_before_anything_is_trained(smoke, tmp_path, stage, carry_out):
    finetune(*smoke("stage=baseline", "budget.labels=20", folder="classifier"))
    for features, reason in (("nowhere", "is no run's folder"), ("classifier", "it must end in a pre-training")):
        config, run = smoke("method=exemplar", f"stage={stage}", "budget.labels=20", "method.clusters=5",
                            f"method.features={tmp_path / features}", folder=f"by-{features}")  # fmt: skip
        with pytest.raises(ConfigError, match=f"method.features=.*{reason}"):
            carry_out(config, run)
        assert not list(run.folder.rglob("checkpoint.pt"))


def test_features_of_other_inputs_are_refused(smoke, tmp_path):
    pretrain(*smoke("method=rotation", "stage=pretrain", "dataset.facts.shape=[3,28,28]", folder="coloured"))
    config, run = smoke(
        "method=exemplar", "stage=pretrain", "method.clusters=5", f"method.features={tmp_path / 'coloured'}"
    )
    with pytest.raises(ConfigError, match="its backbone was trained on other inputs than inputs of 1×28×28"):
        pretrain(config, run)


def test_who_cannot_know_pays_the_log_of_the_seeds():
    method = made()
    torch.nn.init.zeros_(method.classify.weight)
    torch.nn.init.zeros_(method.classify.bias)
    loss, numbers = method.loss((torch.rand(8, 1, 28, 28),), torch.arange(8), Draws(0, "test"))
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
        monkeypatch.setattr(fit, "load", reads)
        config, run = smoke("method=exemplar", "stage=pretrain", "schedule.pretrain.evaluate_every=0", folder=folder)
        losses.append(pretrain(config, run)["loss"])
    assert losses[0] == losses[1]


def test_inputs_of_the_budget_can_be_left_out(smoke):
    config, run = smoke("method=exemplar", "stage=pretrain", "budget.labels=56", "budget.pretrain_on=rest")
    dataset = load(config.dataset)
    budget = choose(dataset, config.budget, config.seed).all
    _, batches, _ = material(config, dataset, run, machine(config.runtime))
    assert batches.count == 200
    assert (batches.labels[budget] == UNKNOWN).all()
