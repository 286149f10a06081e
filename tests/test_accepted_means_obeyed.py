"""Settings that are accepted are obeyed, or it is said where they are not; others are refused before a folder is made."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from ssl_cli.cli.folders import check_can_be_made
from ssl_cli.config.compose import folder_of
from ssl_cli.errors import ConfigError
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.fit import check_fit
from ssl_cli.stages.pretrain import pretrain
from ssl_cli.stages.probe import probe
from ssl_cli.stages.semi import semi


def said(caplog, stage, config, run) -> str:
    with caplog.at_level("INFO", logger="ssl_cli"):
        stage(config, run)
    return caplog.text


def test_a_batch_larger_than_the_labels_is_cut_to_them_and_that_is_said(smoke, caplog):
    text = said(caplog, finetune, *smoke("stage=baseline", "budget.labels=20", "schedule.supervised.batch_size=64"))
    assert "Note: schedule.supervised.batch_size=64: there are 20 labels to train on, so a batch has as many." in text


def test_a_batch_that_the_labels_fill_says_nothing(smoke, caplog):
    text = said(caplog, finetune, *smoke("stage=baseline", "budget.labels=20", "schedule.supervised.batch_size=20"))
    assert "so a batch has as many" not in text


def test_more_labelled_inputs_a_batch_than_labels_are_cut_and_that_is_said(smoke, caplog):
    text = said(caplog, semi, *smoke("stage=semi", "budget.labels=20", "stage.labelled_batch_size=100000"))
    assert "Note: stage.labelled_batch_size=100,000: there are 20 labels to train on, so a batch has as many." in text


def test_fewer_seeds_than_a_batch_are_said(smoke, caplog):
    text = said(caplog, pretrain, *smoke("stage=pretrain", "method=exemplar", "method.seeds=5"))
    assert "Note: schedule.pretrain.batch_size=16: there are 5 inputs to train on, so a batch has as many." in text


def test_a_probe_refuses_a_pretraining_with_another_projection_head_before_it_trains(smoke, tmp_path):
    made = smoke("stage=pretrain", folder="made")
    pretrain(*made)
    words = ("stage=probe", "budget.labels=20", f"checkpoint={tmp_path / 'made'}", "head=mlp")
    config, run = smoke(*words, folder="probed")
    with pytest.raises(
        ConfigError, match="was trained with another projection head than method=simclr and head=mlp make"
    ):
        probe(config, run)
    assert not list(run.folder.rglob("metrics.jsonl"))


def test_a_probe_trains_for_the_steps_that_are_asked_for(smoke):
    words = (
        "schedule.supervised.steps_per_epoch=1",
        "schedule.supervised.batch_size=5",
        "schedule.supervised.max_steps=9",
    )
    config, run = smoke("stage=probe", "budget.labels=20", "stage.layers=[1]", *words)
    probe(config, run)
    (lines,) = [path.read_text().splitlines() for path in run.folder.glob("random/*/metrics.jsonl")]
    assert json.loads(lines[-1])["step"] == 1


def test_inputs_that_a_budget_leaves_must_not_all_be_of_one_case(smoke):
    facts = "dataset.facts={inputs:6,unlabelled:0,test:4,classes:2,shape:[1,28,28],cases:2}"
    words = (
        "dataset=synthetic_cases",
        facts,
        "method=micle",
        "budget=random",
        "budget.labels=4",
        "budget.pretrain_on=rest",
    )
    said = set()
    for seed in range(8):  # which inputs are left
        config, run = smoke(
            "stage=pretrain", *words, f"seed={seed}", "schedule.pretrain.batch_size=2", folder=f"run{seed}"
        )
        check_fit(config)
        try:
            said.add(pretrain(config, run)["inputs"])
        except ConfigError as error:
            said.add(str(error))
            assert not list(run.folder.rglob("metrics.jsonl"))
    assert said == {2, "budget.pretrain_on=rest: leaves 1 of the cases; it must be at least 2, which are told apart"}


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("steps_per_epoch=9", "steps_per_epoch=9: an epoch has 1 batches of 5 inputs to train on"),
        ("gradient_accumulation=2", "gradient_accumulation=2: an epoch has 1 batches of 5 inputs to train on"),
    ],
)
def test_more_batches_than_a_methods_own_choice_of_inputs_fills_are_refused(smoke, word, sentence):
    config, run = smoke("stage=pretrain", "method=exemplar", "method.seeds=5", f"schedule.pretrain.{word}")
    with pytest.raises(ConfigError, match=sentence):
        pretrain(config, run)
    assert not list(run.folder.rglob("metrics.jsonl"))


@pytest.mark.parametrize("select", ["best_validation", "best_test"])
def test_a_probe_keeps_the_weights_that_are_asked_for(smoke, select):
    words = (
        "schedule.supervised.epochs=6", "schedule.supervised.max_steps=null", "schedule.supervised.evaluate_every=2",
        "schedule.supervised.batch_size=10", "budget.validation=0.5", f"schedule.supervised.select={select}",
    )  # fmt: skip
    config, run = smoke("stage=probe", "budget.labels=40", "stage.layers=[1]", *words)
    result = probe(config, run)
    name = select.replace("best_", "") + "_accuracy"
    for row in result["layers"]:
        lines = (run.folder / row["weights"] / "backbone1/metrics.jsonl").read_text().splitlines()
        measured = [number for line in lines if (number := json.loads(line).get(name)) is not None]
        assert len(measured) == 3
        assert select != "best_test" or row["linear"] == round(max(measured), 6)
    assert ("chosen on the test set" in result["protocol"]) == (select == "best_test")
    assert ("best validation accuracy; test set read once a layer" in result["protocol"]) == (select != "best_test")
    assert any("optimistic" in caveat for caveat in result["caveats"]) == (select == "best_test")


def test_a_probe_says_where_batches_are_smaller_than_asked_for(smoke, caplog):
    text = said(caplog, probe, *smoke("stage=probe", "budget.labels=10", "stage.layers=[1]"))
    assert text.count("Note: schedule.supervised.batch_size=16: there are 10 labels to train on, so a batch has") == 1


@pytest.mark.parametrize("place", ["afile", "afile/inside", "/proc/nowhere/run"])
def test_a_folder_that_cannot_be_made_is_refused(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").write_text("mine")
    with pytest.raises(ConfigError, match=r"hydra.run.dir=/\S+: (must be a folder|no folder can be made)"):
        check_can_be_made(*folder_of("run", [f"hydra.run.dir={place}"]))
    assert [path.name for path in tmp_path.iterdir()] == ["afile"]


def test_outputs_where_no_folder_can_be_made_are_refused_by_their_name():
    with pytest.raises(ConfigError, match=r"^outputs=/proc/nowhere/compare/"):
        check_can_be_made(*folder_of("run", ["outputs=/proc/nowhere"]))


def test_a_folder_that_can_be_made_is_not_there_yet_after_the_check(tmp_path):
    check_can_be_made("outputs", tmp_path / "one/two")
    assert not (tmp_path / "one").exists()


def test_commands_that_start_together_in_an_empty_folder_do_not_remove_each_others(tmp_path):
    def start(name: str) -> None:
        for number in range(200):
            folder = tmp_path / f"{number}/outputs"
            check_can_be_made("outputs", folder / name)
            (folder / name).mkdir(parents=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, "abcd"))
