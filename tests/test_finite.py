"""Weights that are not finite: no run finishes with them, and nothing starts from them."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssl_cli.errors import ConfigError, TrainingError
from ssl_cli.runs.files import sha256
from ssl_cli.runs.weights import not_finite
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.pretrain import pretrain
from ssl_cli.training import step as one_step

EXPLODING = "schedule.pretrain.optimiser.lr=1e9"


def test_a_pretraining_that_explodes_is_not_finished(cli, tmp_path):
    words = ("dataset=synthetic", "schedule=smoke", "backbone.width=4", EXPLODING)
    done = cli("pretrain", *words, "schedule.pretrain.optimiser.name=sgd", "hydra.run.dir=run")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "lower schedule's optimiser.lr" in done.stderr
    assert not (tmp_path / "run/result.json").exists()
    assert not (tmp_path / "run/checkpoint.pt").exists()


@pytest.mark.parametrize("name", ["backbone", "classifier"])
def test_weights_are_checked_even_where_the_loss_was_finite(smoke, monkeypatch, name):
    config, run = smoke("stage=baseline", "budget.labels=20")

    step = one_step.take_step

    def break_a_weight(method, *rest):
        numbers = step(method, *rest)
        part = method.backbone if name == "backbone" else method.head
        with torch.no_grad():
            next(part.parameters()).view(-1)[0] = torch.inf
        return numbers

    monkeypatch.setattr(one_step, "take_step", break_a_weight)
    with pytest.raises(TrainingError, match=r"is not finite any more at step|the loss is"):
        finetune(config, run)
    assert not (run.folder / "result.json").exists()


@pytest.fixture
def broken(smoke):
    """A pre-training as an earlier version finished it: with a weight that is not a number."""
    config, run = smoke("stage=pretrain", folder="outputs/pretrain/broken")
    pretrain(config, run)
    path = run.folder / "backbone.safetensors"
    weights = load_file(path)
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point())
    weights[name].view(-1)[0] = torch.nan
    save_file(weights, path)
    result = json.loads((run.folder / "result.json").read_text())
    (run.folder / "result.json").write_text(json.dumps({**result, "weights": {path.name: sha256(path)}}))
    return run.folder


def test_nothing_starts_from_weights_that_are_not_finite(smoke, broken):
    config, run = smoke("stage=finetune", "budget.labels=20", f"checkpoint={broken}")
    with pytest.raises(ConfigError, match=r"backbone.safetensors: .* is not finite, so nothing can start from it"):
        finetune(config, run)


def test_such_a_pretraining_is_not_taken_for_one_that_is_there_already(smoke, broken):
    config, run = smoke("stage=finetune", "budget.labels=20")
    started = finetune(config, run)["pretraining"]
    assert started["folder"] == str(run.folder / "pretrain")
    assert not_finite(load_file(run.folder / "backbone.safetensors")) is None


def test_the_weight_that_is_not_finite_is_named():
    good = {"a": torch.ones(3), "steps": torch.tensor(2**40), "none": torch.empty(0)}
    assert not_finite(good) is None
    assert not_finite({**good, "b": torch.tensor([1.0, -torch.inf])}) == "b"
    assert not_finite({"c": torch.tensor(torch.nan, dtype=torch.bfloat16), **good}) == "c"


def test_a_result_with_a_number_that_is_not_finite_is_none(smoke, numbers):
    _, run = smoke("stage=pretrain")
    with pytest.raises(TrainingError, match="test_accuracy is nan"):
        run.finish(numbers(test_accuracy=float("nan")))
    assert not (run.folder / "result.json").exists()
