"""Searches for settings: what they may go by, and what they end in."""

import json

import pytest
from omegaconf import OmegaConf
from written_runs import write_run

from ssl_cli.cli.sweeps.search import check_search, objective, summarise
from ssl_cli.config import plugins
from ssl_cli.config.compose import from_overrides
from ssl_cli.config.overrides import jobs, parsed_override, reading
from ssl_cli.errors import ConfigError
from ssl_cli.runs.referred import refer

HAS_OPTUNA = plugins.is_there(plugins.EXTRAS["hydra/sweeper", "optuna"][1])
SWEEPER = {"_target_": "a.OptunaSweeper", "direction": "maximize", "n_trials": 4, "n_jobs": 1}


def problems(*jobs: tuple[str, ...], **sweeper) -> tuple[str, ...]:
    try:
        check_search([from_overrides(*words) for words in jobs], OmegaConf.create({**SWEEPER, **sweeper}))
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    "words",
    [
        ("stage=baseline", "budget.validation=0.2"),
        ("stage=finetune", "stage.folds=5"),
        ("stage=semi", "budget.validation=0.2"),
    ],
)
def test_it_goes_by_a_validation_part_or_by_folds(words):
    assert problems(words, (*words, "backbone.width=8")) == ()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stage=baseline",), "never by test data; add budget.validation=0.2"),
        (("stage=compare", "budget.validation=0.2"), "stage=compare: trains no single network"),
        (("stage=classical", "budget.validation=0.2"), "stage=classical: trains no single network"),
        (("stage=pretrain",), "stage=pretrain: trains no single network"),
        (("stage=baseline", "budget.validation=0.2", "schedule.supervised.select=best_test"), "chooses a step by test data"),
    ],
)  # fmt: skip
def test_it_never_goes_by_test_data(words, said):
    (problem,) = problems(words)
    assert said in problem


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("seed=1", "seed"),
        ("budget.labels=100", "budget"),
        ("dataset=synthetic", "dataset"),
        ("stage.folds=5", "stage.folds"),
    ],
)
def test_what_makes_another_measurement_is_not_searched_over(word, key):
    words = ("stage=baseline", "budget.validation=0.2")
    assert any(problem.startswith(f"{key}: must be the same") for problem in problems(words, (*words, word)))


def test_it_seeks_the_highest_accuracy_in_one_job_at_least():
    words = ("stage=baseline", "budget.validation=0.2")
    assert problems(words, direction="minimize")[0].startswith("hydra.sweeper.direction=minimize: must be maximize")
    assert problems(words, n_trials=0) == ("hydra.sweeper.n_trials=0: must be 1 or more",)


def test_each_value_and_both_ends_of_an_interval_are_checked_before_it_begins():
    words = ["hydra/sweeper=optuna", "a=1,2,3", "b=interval(0.5,4)", "c=5"]
    with reading(None):
        tried = list(jobs([override for word in words if (override := parsed_override(word, []))], True, []))
    assert [job[1:] for job in tried] == [
        ["a=1", "b=0.5", "c=5"], ["a=2", "b=0.5", "c=5"], ["a=3", "b=0.5", "c=5"], ["a=1", "b=4.0", "c=5"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("result", "accuracy"),
    [
        (None, None),
        ({"test_accuracy": 0.9, "validation_accuracy": None}, None),
        ({"test_accuracy": 0.9, "validation_accuracy": 0.4}, 0.4),
        ({"test_accuracy": 0.9, "validation_accuracy": 0.4, "folds": {"accuracy": 0.0}}, 0.0),
    ],
)
def test_a_job_counts_by_its_folds_or_its_validation_part(result, accuracy):
    assert objective(result) == accuracy


def test_the_best_settings_and_what_they_cost_are_said_and_saved(tmp_path, caplog):
    for job, (width, accuracy) in enumerate([(4, 0.6), (8, 0.8), (16, 0.7)]):
        network = {"backbone": {"name": "small", "width": width}}
        write_run(tmp_path / str(job), 0.9 - accuracy, labels=100, settings=network, validation_accuracy=accuracy,
                  labels_trained_on=80, seconds=10.0)  # fmt: skip
    caplog.set_level("INFO", logger="ssl_cli")
    refer(tmp_path / "3", tmp_path / "1", {})  # was tried twice, and trained once
    summarise(tmp_path, ["backbone.width=4,8,16", "seed=0"])
    saved = json.loads((tmp_path / "search.json").read_text())
    assert (saved["best"]["job"], saved["best"]["settings"]) == ("1", {"backbone.width": 8})
    assert saved["cost"] == {"labels": 100, "labels_to_choose_by": 20, "jobs": 4, "seconds": 30.0}
    assert "Best of 4 by validation accuracy: 80.0 % with backbone.width=8" in caplog.text
    assert "100 labels, 20 of which chose the settings, and 30 s of work" in caplog.text


@pytest.mark.skipif(
    not plugins.is_there(plugins.EXTRAS["hydra/sweeper", "optuna"][1]), reason="needs pip install 'ssl-cli[optuna]'"
)
@pytest.mark.slow
def test_optuna_searches_by_validation_labels_and_tries_the_same_again_when_it_is_gone_on_with(cli, tmp_path):
    words = ("dataset=synthetic", "schedule=smoke", "backbone.width=4", "runtime.threads=1", "runtime.compile=false",
             "runtime.precision=float32", "budget.labels=60", "budget.validation=0.3")  # fmt: skip
    searched = (
        "schedule.supervised.optimiser.lr=tag(log,interval(0.001,1e9))",
        "schedule.supervised.optimiser.name=sgd",
    )
    asked = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweep.dir=sweep")
    done = cli("-m", "baseline", *words, *searched, *asked)
    assert "Traceback" not in done.stderr
    saved = json.loads((tmp_path / "sweep/search.json").read_text())
    assert saved["best"]["accuracy"] == max(job["accuracy"] for job in saved["jobs"])
    assert saved["cost"]["labels_to_choose_by"] == 18
    assert done.stdout.index("all runs of the sweep") < done.stdout.index("by validation accuracy")
    for job in range(3):  # one that fails is named, and the search goes on
        finished = (tmp_path / f"sweep/{job}/result.json").exists()
        assert finished != (f"ssl-cli: Job {job}: " in done.stderr or f"\nJob {job}: " in done.stderr)
    last = tmp_path / "sweep/2/config.yaml"
    before = last.read_text()
    (last.parent / "result.json").unlink(missing_ok=True)
    resumed = cli("resume=sweep")
    assert "Traceback" not in resumed.stderr
    assert resumed.stdout.count("This run was finished already") == sum(job["job"] != "2" for job in saved["jobs"])
    assert last.read_text() == before
