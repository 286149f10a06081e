import json
import time
from dataclasses import replace

import pytest
import yaml

from ssl_cli.config.compose import from_overrides
from ssl_cli.config.trust import settings_folder
from ssl_cli.runs.run import Run
from ssl_cli.stages.benchmark import benchmark
from ssl_cli.training.device import Machine


@pytest.fixture
def small(smoke, tmp_path):
    """A benchmark of two methods, its settings and its run."""
    config, _ = smoke(
        "stage=benchmark", "budget.labels=20", "stage.seeds=2", "stage.seconds=0.3", "head=simclr_v2", "head.keep=0"
    )
    methods = {name: config.stage.methods[name] for name in ("vicreg", "rotation")}
    config = replace(config, stage=replace(config.stage, methods=methods))
    return config, Run(tmp_path / "benchmark", config)


def test_every_method_meets_random_weights_and_labels_only_over_the_seeds(small):
    config, run = small
    result = benchmark(config, run)
    rows = {row["method"]: row for row in result["rows"]}
    assert list(rows) == ["labels only", "vicreg", "rotation", "random weights"]
    assert all(row["seeds"] == [0, 1] for row in rows.values())
    for name in ("vicreg", "rotation"):
        assert all(0 <= rows[name][key]["mean"] <= 1 for key in ("knn", "linear", "linear_before", "finetuned"))
    assert rows["random weights"]["finetuned"] is None
    assert rows["random weights"]["knn"]["mean"] > 0.3
    assert rows["labels only"]["knn"] is None
    assert (run.folder / "benchmark.png").stat().st_size > 5000
    hashes = {json.loads(path.read_text())["labels_hash"] for path in run.folder.glob("seed1/*/finetune/result.json")}
    assert len(hashes) == 1


def test_equal_time_is_turned_into_steps_once(small):
    config, run = small
    config = replace(config, stage=replace(config.stage, seeds=1))
    run = Run(run.folder.parent / "timed", config)
    benchmark(config, run)
    for name in ("vicreg", "rotation"):
        timed = json.loads((run.folder / f"seed0/{name}/steps.json").read_text())
        assert timed["steps"] == max(1, round(0.3 / timed["seconds_per_step"]))
        trained = json.loads((run.folder / f"seed0/{name}/pretrain/result.json").read_text())
        assert trained["steps"] == timed["steps"]
    (run.folder / "result.json").unlink()
    (run.folder / "seed0/rotation/pretrain/result.json").unlink()
    before = (run.folder / "seed0/rotation/steps.json").read_bytes()
    benchmark(config, run)  # resumed
    assert (run.folder / "seed0/rotation/steps.json").read_bytes() == before


def test_one_thread_is_timed_without_the_other_programs(small, monkeypatch):
    config, run = small
    methods = {"vicreg": config.stage.methods["vicreg"]}
    stage = replace(config.stage, seeds=1, methods=methods)
    config = replace(config, stage=stage, runtime=replace(config.runtime, threads=1, device="cpu"))
    run = Run(run.folder.parent / "one-thread", config)
    monkeypatch.setattr(Machine, "wait", lambda _: time.sleep(0.3))  # the processor is busy with something else
    benchmark(config, run)
    assert json.loads((run.folder / "seed0/vicreg/steps.json").read_text())["seconds_per_step"] < 0.3


def test_equal_epochs_leave_the_schedule_as_it_is(small):
    config, run = small
    config = replace(config, stage=replace(config.stage, equal="epochs", seeds=1))
    run = Run(run.folder.parent / "epochs", config)
    benchmark(config, run)
    assert not list(run.folder.rglob("steps.json"))
    assert json.loads((run.folder / "seed0/vicreg/pretrain/result.json").read_text())["steps"] == 2


def test_a_method_may_have_a_rate_of_its_own(small):
    config, run = small
    config = replace(config, stage=replace(config.stage, seeds=1, equal="epochs", rates={"rotation": 1.5e-5}))
    run = Run(run.folder.parent / "rates", config)
    benchmark(config, run)
    for name, rate in (("vicreg", config.schedule.pretrain.optimiser.lr), ("rotation", 1.5e-5)):
        settings = yaml.safe_load((run.folder / f"seed0/{name}/pretrain/config.yaml").read_text())
        assert settings["schedule"]["pretrain"]["optimiser"]["lr"] == rate


def test_all_methods_are_in_it_but_those_that_need_cases_or_a_backbone_of_their_own():
    methods = {path.stem for path in (settings_folder() / "method").glob("*.yaml")}
    for_texts = {"masked_lm", "causal_lm", "word2vec", "electra", "cross_lingual"}
    assert set(from_overrides("experiment=benchmark").stage.methods) == methods - {"micle", "mae"} - for_texts


def test_a_masked_autoencoder_joins_where_all_have_its_backbone(fitting):
    words = (
        "experiment=benchmark",
        "backbone=vit",
        "+method@stage.methods.mae=mae",
        "stage.methods.mae.mask_ratio=0.5",
    )
    stage = fitting(*words, "~stage.methods.patch_location").stage
    assert stage.methods["mae"].arguments["mask_ratio"] == 0.5
    with pytest.raises(Exception, match=r"patch_location: patch=7: inputs of 7×7 do not fit"):
        fitting(*words)


def test_a_methods_setting_can_be_changed_and_is_checked():
    assert (
        from_overrides("stage=benchmark", "stage.methods.byol.momentum=0.5").stage.methods["byol"].arguments["momentum"]
        == 0.5
    )
    with pytest.raises(Exception, match=r"stage\.methods\.byol\.momentum=7: must be in \[0, 1\]"):
        from_overrides("stage=benchmark", "stage.methods.byol.momentum=7")
