"""The training loop's own settings: clipping, accumulation and an average of the weights."""

import json

import pytest
import torch
from metrics_of_runs import read_metrics
from safetensors.torch import load_file
from torch import nn

from ssl_cli.errors import ConfigError
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.pretrain import pretrain
from ssl_cli.training import step as one_step
from ssl_cli.training.average import WeightAverage

STEPS = ("schedule.supervised.epochs=9", "schedule.supervised.max_steps=6", "schedule.supervised.optimiser.name=sgd")
SGD = (*STEPS, "schedule.supervised.optimiser.momentum=0.0", "augment=none", "backbone=warfield")


def weights(run, name="classifier"):
    return load_file(run.folder / f"{name}.safetensors")


def test_a_clipped_gradient_is_no_longer_than_asked_and_its_norm_is_logged(smoke):
    config, run = smoke("stage=baseline", "budget.labels=20", "schedule.supervised.gradient_clipping=0.001")
    finetune(config, run)
    norms = [line["gradient_norm"] for line in read_metrics(run.folder) if "gradient_norm" in line]
    assert min(norms) > 0.001  # before clipping
    config, free = smoke("stage=baseline", "budget.labels=20", folder="free")
    finetune(config, free)
    assert not any("gradient_norm" in line for line in read_metrics(free.folder))


def test_one_step_along_a_clipped_gradient_is_as_long_as_the_rate_times_the_norm(smoke):
    once = ("schedule.supervised.max_steps=1", "schedule.supervised.rate={warmup: 0, decay: constant, gamma: 1}",
            "schedule.supervised.optimiser.weight_decay=0")  # fmt: skip
    lengths = {}
    for clipping in ("null", "0.01"):
        config, run = smoke("stage=baseline", "budget.labels=20", *SGD, *once, "schedule.supervised.optimiser.lr=0.1",
                            f"schedule.supervised.gradient_clipping={clipping}", folder=clipping)  # fmt: skip
        start = {}
        fit = one_step.take_step

        def watched(method, *rest, fit=fit, start=start):
            start.update({key: value.clone() for key, value in method.state_dict().items()})
            numbers = fit(method, *rest)
            start["moved"] = sum(
                (value - start[key]).square().sum() for key, value in method.state_dict().items()
            ).sqrt()
            return numbers

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(one_step, "take_step", watched)
            finetune(config, run)
        lengths[clipping] = float(start["moved"])
    assert lengths["0.01"] == pytest.approx(0.1 * 0.01, rel=1e-3)
    assert lengths["null"] > lengths["0.01"]


def test_accumulated_batches_make_the_step_of_one_large_batch(smoke):
    """Without batch norm and random views the mean gradient of two halves is that of the whole."""
    found = {}
    for name, words in (
        ("whole", ("schedule.supervised.batch_size=16",)),
        ("halves", ("schedule.supervised.batch_size=8", "schedule.supervised.gradient_accumulation=2")),
    ):
        config, run = smoke("stage=baseline", "budget.labels=32", *SGD, *words, folder=name)
        result = finetune(config, run)
        assert (result["steps"], result["epochs"]) == (6, 3.0)
        found[name] = (weights(run), [line["loss"] for line in read_metrics(run.folder) if "loss" in line])
    assert found["halves"][1] == pytest.approx(found["whole"][1], rel=1e-5)
    for key, value in found["whole"][0].items():
        torch.testing.assert_close(found["halves"][0][key], value, rtol=1e-4, atol=1e-6)


def test_more_accumulated_batches_than_an_epoch_has_are_refused(fitting):
    words = ("stage=baseline", "dataset=synthetic", "budget.labels=40", "schedule.supervised.batch_size=16")
    with pytest.raises(ConfigError, match="gradient_accumulation=3: an epoch has 2 batches of 16; at most that many"):
        fitting(*words, "schedule.supervised.gradient_accumulation=3")


def test_an_average_of_weights_follows_them_and_gives_way_to_them():
    module = nn.BatchNorm1d(2)
    average = WeightAverage(module, 0.75)
    with torch.no_grad():
        module.weight.fill_(5.0)
    module.num_batches_tracked += 3
    average.update(module)
    assert average.weights["weight"].tolist() == [2.0, 2.0]
    assert average.weights["num_batches_tracked"] == 3
    with average.applied(module):
        assert module.weight.tolist() == [2.0, 2.0]
    assert module.weight.tolist() == [5.0, 5.0]


def test_the_average_is_what_a_run_keeps_and_goes_on_with(smoke, monkeypatch):
    words = (
        "stage=pretrain",
        "schedule.pretrain.max_steps=8",
        "schedule.pretrain.ema=0.9",
        "runtime.checkpoint_seconds=0",
    )
    config, whole = smoke(*words, folder="whole")
    pretrain(config, whole)
    config, plain = smoke(*words, "schedule.pretrain.ema=0.0", folder="plain")
    pretrain(config, plain)
    losses = [[line["loss"] for line in read_metrics(run.folder) if "loss" in line] for run in (whole, plain)]
    assert losses[0] == losses[1]  # the training itself is the same
    assert any(
        not torch.equal(value, weights(plain, "backbone")[key]) for key, value in weights(whole, "backbone").items()
    )

    config, run = smoke(*words, folder="stopped")
    step, taken = one_step.take_step, []

    def stop_after_three(*everything):
        taken.append(None)
        if len(taken) > 3:
            raise KeyboardInterrupt
        return step(*everything)

    monkeypatch.setattr(one_step, "take_step", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        pretrain(config, run)
    monkeypatch.setattr(one_step, "take_step", step)
    pretrain(config, run)
    for name in ("backbone.safetensors", "checkpoint.pt"):
        assert (run.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert json.loads((run.folder / "result.json").read_text())["steps"] == 8
