import json

import pytest
from metrics_of_runs import read_metrics

from ssl_cli.stages.pretrain import pretrain
from ssl_cli.training import compiling
from ssl_cli.training.device import machine_of


def test_a_run_computes_as_it_did_when_it_began(smoke):
    config, run = smoke("stage=pretrain", "runtime.precision=bfloat16", "runtime.threads=1")
    begun = machine_of(run, config.runtime)
    kept = json.loads((run.folder / "machine.json").read_text())
    assert (kept["precision"], kept["threads"], begun.threads) == ("bfloat16", 1, 1)
    (run.folder / "machine.json").write_text(json.dumps({**kept, "precision": "float32"}))
    assert machine_of(run, config.runtime).precision == "float32"
    assert machine_of(run.child("pretrain", config), config.runtime).precision == "float32"


def test_every_precision_trains_alike(smoke):
    losses = {}
    for precision in ("float32", "bfloat16", "float16"):
        # Adam's first step is the sign of a gradient, which says nothing of its precision.
        plain = ("schedule.pretrain.optimiser.name=sgd", "schedule.pretrain.optimiser.lr=0.1")
        config, run = smoke("stage=pretrain", f"runtime.precision={precision}", *plain, folder=precision)
        pretrain(config, run)
        losses[precision] = [line["loss"] for line in read_metrics(run.folder) if "loss" in line]
    for precision in ("bfloat16", "float16"):
        assert losses[precision] == pytest.approx(losses["float32"], rel=0.05)
        assert losses[precision] != losses["float32"]


def test_short_trainings_make_no_trial_of_compiling(smoke):
    config, run = smoke("stage=pretrain")
    assert pretrain(config, run)["compile"] == {"compiled": False, "reason": "a training this short makes no trial"}


@pytest.mark.slow  # compiling takes up to a minute
def test_a_trial_decides_on_compiling_and_a_resumed_run_keeps_to_it(smoke, monkeypatch):
    monkeypatch.setattr(compiling, "WORTH_A_TRIAL", 0)
    config, run = smoke("stage=pretrain", "schedule.pretrain.max_steps=100", "schedule.pretrain.epochs=10")
    decision = pretrain(config, run)["compile"]
    assert decision["eager_seconds"] > 0
    if "compiled_seconds" in decision:
        assert decision["compiled"] == (decision["compiled_seconds"] < compiling.GAIN * decision["eager_seconds"])
    else:
        assert decision["reason"].startswith("it does not compile here")
    assert json.loads((run.folder / "compile.json").read_text()) == decision
