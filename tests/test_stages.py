import csv
import json
from dataclasses import replace

import pytest
import torch
from metrics_of_runs import read_metrics
from safetensors.torch import load_file

from ssl_cli.cli.sweep_table import summarise
from ssl_cli.config.build import build
from ssl_cli.config.compose import from_overrides
from ssl_cli.config.trust import settings_folder
from ssl_cli.data.dataset import load
from ssl_cli.data.measures import confusion
from ssl_cli.errors import ConfigError
from ssl_cli.randomness import Draws
from ssl_cli.report import table
from ssl_cli.runs.run import Run
from ssl_cli.stages.compare import arms, compare
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.identity import pretraining_identity
from ssl_cli.stages.networks import fresh_backbone, fresh_classifier, plain_of, pretraining_method
from ssl_cli.stages.pretrain import pretrain
from ssl_cli.training.device import machine
from ssl_cli.training.evaluate import knn_accuracy, outputs

PROMISED = {
    "stage", "test_accuracy", "labels", "seed", "seconds", "images_per_second", "backbone_parameters", "run_id",
}  # fmt: skip


FOR_TEXTS = {"masked_lm", "causal_lm", "word2vec", "electra", "cross_lingual"}  # test_language_models.py


@pytest.mark.parametrize(
    "method", sorted({path.stem for path in (settings_folder() / "method").glob("*.yaml")} - FOR_TEXTS)
)
def test_every_method_trains_the_backbone(smoke, method):
    data = "synthetic_cases" if method == "micle" else "synthetic"
    backbone = "vit" if method == "mae" else "small"
    config, run = smoke(f"method={method}", f"dataset={data}", f"backbone={backbone}", "stage=pretrain")
    before = {key: value.clone() for key, value in fresh_backbone(config, load(config.dataset)).state_dict().items()}
    result = pretrain(config, run)
    after = load_file(run.folder / "backbone.safetensors")
    moved = [key for key in before if key.endswith("weight") and not torch.equal(before[key], after[key])]
    assert moved == [key for key in before if key.endswith("weight")]
    assert all(value.isfinite().all() for value in after.values())
    assert result["steps"] == 2


@pytest.mark.parametrize("backbone", ["small", "warfield", "resnet18", "vit"])
def test_gradient_reaches_every_weight_of_the_backbone(smoke, backbone):
    config, _ = smoke(f"backbone={backbone}", "stage=pretrain")
    dataset = load(config.dataset)
    method = pretraining_method(config, dataset)
    views = build(config.augment.pretrain, scale=1.0)(dataset.train.inputs[:16], 2, Draws(0, "v"))
    method.loss(views, None, Draws(0, "test"))[0].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.backbone.parameters())


def test_pretraining_leaves_all_that_is_promised(smoke):
    config, run = smoke("stage=pretrain")
    result = pretrain(config, run)
    files = {path.name for path in run.folder.iterdir()}
    assert files >= {"config.yaml", "run.json", "metrics.jsonl", "checkpoint.pt", "backbone.safetensors",
                     "head.safetensors", "result.json", "views.png", "curves.png"}  # fmt: skip
    assert result.keys() >= PROMISED
    assert (result["test_accuracy"], result["labels"], result["stage"]) == (None, 0, "pretrain")
    assert any("knn_accuracy" in line for line in read_metrics(run.folder))
    assert all("spread" in line for line in read_metrics(run.folder) if "loss" in line)
    assert not any("loss" in line for line in read_metrics(run.folder) if "knn_accuracy" in line)


def test_no_label_is_looked_at_where_the_display_is_off(smoke):
    config, run = smoke("stage=pretrain", "schedule.pretrain.evaluate_every=0")
    assert pretrain(config, run)["knn_accuracy"] is None
    assert not any("knn_accuracy" in line for line in read_metrics(run.folder))


def test_pretraining_can_leave_the_labelled_inputs_out(smoke):
    config, run = smoke("stage=pretrain", "budget=first", "budget.labels=56", "budget.pretrain_on=rest")
    assert pretrain(config, run)["inputs"] == 200


def test_finetuning_leaves_all_that_is_promised(smoke):
    config, run = smoke("stage=baseline", "budget.labels=20", "budget.validation=0.25")
    result = finetune(config, run)
    assert result.keys() >= PROMISED
    assert {path.name for path in run.folder.iterdir()} >= {
        "backbone.safetensors", "classifier.safetensors", "labels.csv", "confusion.png", "curves.png",
    }  # fmt: skip
    rows = list(csv.DictReader((run.folder / "labels.csv").read_text().splitlines()))
    assert [row["part"] for row in rows] == ["train"] * 15 + ["validation"] * 5
    labels = load(config.dataset).train.labels
    assert all(int(row["label"]) == labels[int(row["item"])] for row in rows)
    assert result["labels"] == 20
    assert result["validation_accuracy"] is not None


def test_pretrained_weights_learn_at_their_share_of_the_rate_and_new_ones_do_not(smoke, tmp_path):
    started, start = smoke("stage=pretrain")
    pretrain(started, start)

    def moved(stage: str, rate: float) -> tuple[float, bytes]:
        """How far a backbone went, and its weights afterwards."""
        config, run = smoke(
            f"stage={stage}", f"checkpoint={start.folder if stage == 'finetune' else 'auto'}",
            f"schedule.supervised.pretrained_rate={rate}", folder=f"{stage}{rate}",
        )  # fmt: skip
        finetune(config, run)
        after = load_file(run.folder / "backbone.safetensors")
        before = load_file(start.folder / "backbone.safetensors")
        far = sum(float((after[key] - before[key]).norm()) for key in before if key.endswith("weight"))
        return far, (run.folder / "backbone.safetensors").read_bytes()

    assert moved("finetune", 0.01)[0] < 0.1 * moved("finetune", 1.0)[0]
    assert moved("baseline", 0.01)[1] == moved("baseline", 1.0)[1]


def test_saved_weights_give_back_the_tested_answers(smoke):
    config, run = smoke(
        "stage=baseline", "budget.labels=40", "schedule.supervised.max_steps=40", "schedule.supervised.epochs=20",
        "augment=none",
    )  # fmt: skip
    result = finetune(config, run)
    dataset = load(config.dataset)
    method = fresh_classifier(replace(config, seed=99), dataset, None)
    method.backbone.load_state_dict(load_file(run.folder / "backbone.safetensors"))
    method.head.load_state_dict(load_file(run.folder / "classifier.safetensors"))
    answers = outputs(method, dataset.test.inputs, plain_of(config, dataset), machine(config.runtime)).argmax(1)
    assert int((answers == dataset.test.labels).sum()) / len(dataset.test) == pytest.approx(
        result["test_accuracy"], abs=1e-6
    )
    assert result["test_accuracy"] > 0.3


def test_auto_pretrains_once_and_is_found_the_second_time(smoke, tmp_path):
    runs = []
    for name, labels in (("outputs/a", 20), ("outputs/b", 30), ("outputs/c", 20)):
        other = ["method.temperature=0.3"] if name == "outputs/c" else []
        config, run = smoke("stage=finetune", f"budget.labels={labels}", *other, folder=name)
        runs.append(finetune(config, run)["pretraining"])
    assert (tmp_path / "outputs/a/pretrain/result.json").exists()
    assert not (tmp_path / "outputs/b/pretrain").exists()
    assert runs[0]["run_id"] == runs[1]["run_id"] != runs[2]["run_id"]


SHAPING = [
    "method.temperature=0.3", "backbone.width=5", "head=mlp", "seed=1", "augment.pretrain.affine.rotation=3",
    "schedule.pretrain.epochs=2", "schedule.pretrain.optimiser.lr=1e-4", "runtime.precision=bfloat16", "augment.scale=2",
    "dataset.facts.inputs=300", "budget.pretrain_on=rest",
]  # fmt: skip
NOT_SHAPING = [
    "schedule.pretrain.log_every=7", "schedule.pretrain.evaluate_every=0", "schedule.supervised.epochs=9",
    "budget.labels=30", "head.keep=1", "augment.supervised.affine.rotation=3", "runtime.checkpoint_seconds=1",
]  # fmt: skip


@pytest.mark.parametrize("change", [*SHAPING, *NOT_SHAPING])
def test_what_shapes_the_weights_and_only_that_changes_the_hash(change):
    def hashed(*overrides: str) -> str:
        small = (
            "dataset=synthetic",
            "schedule=smoke",
            "runtime.precision=float32",
            "backbone.width=4",
            "budget.labels=20",
        )
        config = from_overrides(*small, *overrides)
        return pretraining_identity(config, load(config.dataset), machine(config.runtime))

    assert (hashed() != hashed(change)) == (change in SHAPING)


def test_a_checkpoint_of_another_architecture_is_refused(smoke, tmp_path):
    config, run = smoke("stage=pretrain", folder="pre")
    pretrain(config, run)
    with pytest.raises(ConfigError, match=r"backbone=small: checkpoint=.* was trained with"):
        finetune(*smoke("stage=finetune", "budget.labels=20", "backbone.width=5", f"checkpoint={tmp_path / 'pre'}"))


def test_an_unfinished_or_foreign_checkpoint_is_refused(smoke, tmp_path):
    smoke("stage=pretrain", folder="unfinished")
    for checkpoint, reason in ((tmp_path / "unfinished", "is not finished"), (tmp_path, "is no run's folder")):
        with pytest.raises(ConfigError, match=reason):
            finetune(
                *smoke(
                    "stage=finetune", "budget.labels=20", f"checkpoint={checkpoint}", folder=f"from-{checkpoint.name}"
                )
            )


def test_a_frozen_backbone_stays_as_it_was(smoke, tmp_path):
    config, run = smoke("stage=finetune", "stage.train=head", "budget.labels=20")
    finetune(config, run)
    before, after = (load_file(path) for path in sorted(run.folder.rglob("backbone.safetensors")))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_every_arm_starts_from_the_same_weights_and_the_same_new_classifier(smoke):
    config, _ = smoke("stage=finetune", "budget.labels=20")
    dataset = load(config.dataset)
    one = fresh_classifier(config, dataset, None).state_dict()
    other = fresh_classifier(replace(config, stage=replace(config.stage, name="baseline")), dataset, None).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)
    fresh = pretraining_method(config, dataset).backbone.state_dict()
    assert all(torch.equal(fresh[key], one[f"backbone.{key}"]) for key in fresh)


def test_the_best_validation_weights_count_where_asked(smoke):
    config, run = smoke(
        "stage=baseline", "budget.labels=40", "budget.validation=0.5", "schedule.supervised.select=best_validation",
        "schedule.supervised.max_steps=12", "schedule.supervised.epochs=20",
    )  # fmt: skip
    result = finetune(config, run)
    seen = [line["validation_accuracy"] for line in read_metrics(run.folder) if "validation_accuracy" in line]
    assert len(seen) > 2
    assert "best validation accuracy" in result["protocol"]
    assert "test set read once" in result["protocol"]
    assert not any("test_accuracy" in line for line in read_metrics(run.folder))


def test_choosing_on_the_test_set_is_said(smoke):
    config, run = smoke("stage=baseline", "budget.labels=20", "schedule.supervised.select=best_test")
    result = finetune(config, run)
    assert "chosen on the test set, so optimistic" in result["protocol"]
    assert any("chosen on the test set" in caveat for caveat in result["caveats"])


def test_the_articles_habits_are_said_in_the_result(smoke):
    config, run = smoke(
        "stage=baseline", "budget=first", "budget.labels=200", "head=warfield", "schedule=warfield",
        "schedule.supervised.max_steps=2", "schedule.supervised.evaluate_every=1",
    )  # fmt: skip
    result = finetune(config, run)
    assert result["labels_trained_on"] == 128
    assert [caveat for caveat in result["caveats"] if "softmax" in caveat or "72 of 200 labels" in caveat][1:]
    assert 0 < result["softmax_slope_at_start"] <= 1


def test_training_stops_when_the_loss_stands_still(smoke):
    config, run = smoke(
        "stage=pretrain", "schedule.pretrain.epochs=50", "schedule.pretrain.max_steps=null",
        "schedule.pretrain.steps_per_epoch=1", "schedule.pretrain.stop={patience: 2, improvement: 1.0}",
    )  # fmt: skip
    assert pretrain(config, run)["steps"] == 1 + 3


def test_a_collapse_is_said_at_once_with_what_to_try(smoke, caplog):
    config, run = smoke(
        "stage=pretrain", "head=warfield", "augment.scale=255", "schedule.pretrain.max_steps=40",
        "schedule.pretrain.epochs=10", "schedule.pretrain.optimiser.lr=1", "schedule.pretrain.batch_size=64",
    )  # fmt: skip
    with caplog.at_level("WARNING", logger="ssl_cli"):
        import logging

        logging.getLogger("ssl_cli").addHandler(caplog.handler)
        result = pretrain(config, run)
    assert result["collapsed"]
    assert result["loss"] == pytest.approx(torch.log(torch.tensor(127.0)).item(), abs=1e-3)
    assert "Collapsed at step" in caplog.text
    assert "head.projection.output=linear" in caplog.text


def test_a_comparison_has_every_arm_and_a_page(smoke):
    config, run = smoke("stage=compare", "stage.seeds=2", "budget.labels=20", "head.keep=1")
    result = compare(config, run)
    assert [row["arm"] for row in result["rows"]] == [
        "random weights, frozen", "labels only", "labels only, with augmentation", "pre-trained, frozen",
        "pre-trained, same head", "pre-trained, 1 of 2 head layers kept", "pre-trained, new head",
    ]  # fmt: skip
    assert all(row["seeds"] == [0, 1] and row["spread"] is not None for row in result["rows"])
    kept = next(row for row in result["rows"] if "1 of 2" in row["arm"])
    assert result["test_accuracy"] == kept["mean"]
    page = (run.folder / "report.html").read_text()
    assert page.count("data:image/png;base64") >= 4
    assert "http:" not in page
    assert "https:" not in page
    hashes = {json.loads(path.read_text())["labels_hash"] for path in run.folder.glob("seed0/*/result.json")
              if "labels_hash" in path.read_text()}  # fmt: skip
    assert len(hashes) == 1


def test_arms_differ_in_nothing_but_what_they_are_named_for():
    config = from_overrides("head.keep=1")
    for _, arm in arms(config):
        same = replace(arm, stage=config.stage, head=config.head, augment=config.augment)
        assert same == config


def test_collapsed_seeds_are_counted_apart():
    def result(seed: int, accuracy: float, collapsed: bool) -> dict:
        return {"arm": "a", "labels": 5, "seed": seed, "test_accuracy": accuracy, "seconds": 1.0,
                "backbone_parameters": 9, "images_per_second": 1.0, "pretraining": {"collapsed": collapsed}}  # fmt: skip

    healthy, broken = table.rows([result(0, 0.5, False), result(1, 0.1, True), result(2, 0.7, False)])
    assert (healthy["seeds"], healthy["mean"], broken["seeds"]) == ([0, 2], pytest.approx(0.6), [1])
    assert healthy["spread"] == pytest.approx(0.1414, abs=1e-4)
    assert broken["arm"] == "a (collapsed)"


def test_a_folder_that_holds_another_run_is_refused(smoke, tmp_path):
    config, _ = smoke("stage=baseline", "budget.labels=20", folder="x")
    Run(tmp_path / "x", config)
    with pytest.raises(ConfigError, match="already holds a run with other settings"):
        Run(tmp_path / "x", replace(config, seed=5))


def test_nearest_neighbours_vote():
    bank = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    labels = torch.tensor([0, 0, 1, 1])
    assert knn_accuracy(bank, labels, torch.tensor([[2.0, 0.1], [0.1, 3.0]]), torch.tensor([0, 1]), 2) == 1
    assert knn_accuracy(bank, labels, torch.tensor([[2.0, 0.1], [0.1, 3.0]]), torch.tensor([1, 0]), 2) == 0


def test_confusion_counts_true_classes_down_and_answers_across():
    counts = confusion(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 2]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_training_can_stop_before_its_first_log_line(smoke):
    config, run = smoke(
        "stage=baseline", "budget.labels=40", "schedule.supervised.epochs=50", "schedule.supervised.max_steps=null",
        "schedule.supervised.log_every=1000", "schedule.supervised.stop={patience: 0, improvement: 1.0}",
    )  # fmt: skip
    assert finetune(config, run)["train_loss"] > 0


def test_a_sweep_is_drawn_over_its_numbers(smoke, tmp_path):
    jobs = [(width, keep) for width in (3, 4, 6) for keep in (0, 1)]
    for job, (width, keep) in enumerate(jobs):
        overrides = (f"backbone.width={width}", f"head.keep={keep}", "budget.labels=20")
        finetune(*smoke("stage=finetune", *overrides, folder=f"sweep/{job}"))
    summarise(tmp_path / "sweep")
    rows = json.loads((tmp_path / "sweep/sweep.json").read_text())
    assert sorted((row["x"], row["line"]) for row in rows) == sorted(
        (width, f"pre-trained, head.keep={keep}") for width, keep in jobs
    )
    assert (tmp_path / "sweep/sweep.png").stat().st_size > 5000


def test_a_swept_list_counts_by_its_entries(smoke, tmp_path):
    for job, widths in enumerate(("[8]", "[inputs,8]")):
        overrides = (f"head.projection.widths={widths}", "budget.labels=20")
        finetune(*smoke("stage=finetune", *overrides, folder=f"sweep/{job}"))
    summarise(tmp_path / "sweep")
    assert [row["x"] for row in json.loads((tmp_path / "sweep/sweep.json").read_text())] == [1, 2]


def test_a_sweep_over_any_setting_keeps_its_runs_apart(smoke, tmp_path):
    for job, width in enumerate((3, 4)):
        finetune(*smoke("stage=baseline", "budget.labels=20", f"backbone.width={width}", folder=f"sweep/{job}"))
    summarise(tmp_path / "sweep")
    rows = json.loads((tmp_path / "sweep/sweep.json").read_text())
    assert [row["arm"].split(", ")[-1] for row in rows] == ["backbone.width=3", "backbone.width=4"]
    for job, kind in enumerate(("balanced", "random")):
        finetune(*smoke("stage=baseline", "budget.labels=20", f"budget={kind}", folder=f"kinds/{job}"))
    summarise(tmp_path / "kinds")
    rows = json.loads((tmp_path / "kinds/sweep.json").read_text())
    assert [row["arm"].split(", ")[-1] for row in rows] == ["budget=balanced", "budget=random"]
