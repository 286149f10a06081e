import itertools
import json
import math
from pathlib import Path

import yaml

from ssl_cli.cli.sweep_table import summarise
from ssl_cli.runs.result import finished_runs
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.pretrain import pretrain


def recorded(sweep: Path, *words: str) -> None:
    """What Hydra records of a sweep."""
    hydra = {
        "overrides": {"task": list(words)},
        "sweep": {"subdir": "${hydra.job.num}"},
        "sweeper": {"_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "params": None},
    }
    (sweep / "multirun.yaml").write_text(yaml.safe_dump({"hydra": hydra}))


def test_jobs_stand_in_the_order_of_their_numbers(tmp_path):
    for name in ("10", "9", "2/pretrain", "2"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "result.json").write_text('{"format": 1}')
    assert [str(path.relative_to(tmp_path)) for path, _ in finished_runs(tmp_path)] == ["2/pretrain", "2", "9", "10"]


def test_a_sweep_of_pretrainings_ends_in_a_table_of_what_neighbours_say(smoke, tmp_path, capsys):
    found = {}
    for job, (temperature, seed) in enumerate([(0.1, 0), (0.1, 1), (0.5, 0), (0.5, 1)]):
        config, run = smoke(
            "stage=pretrain", f"method.temperature={temperature}", f"seed={seed}", folder=f"sweep/{job}"
        )
        found[temperature, seed] = pretrain(config, run)["knn_accuracy"]
    summarise(tmp_path / "sweep")
    rows = json.loads((tmp_path / "sweep/sweep.json").read_text())
    assert [(row["line"], row["x"], row["seeds"]) for row in rows] == [("simclr", 0.1, [0, 1]), ("simclr", 0.5, [0, 1])]
    assert [row["accuracies"] for row in rows] == [[found[value, seed] for seed in (0, 1)] for value in (0.1, 0.5)]
    assert "kNN accuracy" in capsys.readouterr().out
    assert (tmp_path / "sweep/sweep.png").stat().st_size > 5000


def test_a_sweep_over_kept_layers_has_a_line_for_each_number_of_them(smoke, tmp_path):
    heads = ["[8]", "[inputs,8]", "[inputs,inputs,8]"]
    for job, (widths, keep) in enumerate(itertools.product(heads, (0, 1))):
        config, run = smoke(
            "stage=finetune", f"head.projection.widths={widths}", f"head.keep={keep}", "budget.labels=20",
            folder=f"sweep/{job}",
        )  # fmt: skip
        finetune(config, run)
    summarise(tmp_path / "sweep")
    rows = json.loads((tmp_path / "sweep/sweep.json").read_text())
    assert {row["line"] for row in rows} == {"pre-trained, head.keep=0", "pre-trained, head.keep=1"}
    assert sorted(row["x"] for row in rows) == [1, 1, 2, 2, 3, 3]


def test_jobs_that_say_little_but_an_accuracy_have_a_row_and_those_without_one_have_none(
    smoke, numbers, tmp_path, capsys
):
    for job, (width, accuracy) in enumerate([(4, 0.5), (8, 0.7), (16, None)]):
        _, run = smoke("stage=probe", f"backbone.width={width}", folder=f"sweep/{job}")
        run.finish(numbers(test_accuracy=accuracy, backbone_parameters=1000 * width))
    summarise(tmp_path / "sweep")
    rows = json.loads((tmp_path / "sweep/sweep.json").read_text())
    assert [(row["line"], row["x"], row["mean"], row["images_per_second"]) for row in rows] == [
        ("probe", 4, 0.5, None), ("probe", 8, 0.7, None),
    ]  # fmt: skip
    assert "8,000" in capsys.readouterr().out


def test_a_job_with_classifiers_inside_is_not_set_beside_them(smoke, numbers, tmp_path):
    for name, stage in (("0", "compare"), ("0/seed0/labels-only", "baseline")):
        _, run = smoke(f"stage={stage}", folder=f"sweep/{name}")
        run.finish(numbers())
    summarise(tmp_path / "sweep")
    assert [row["arm"] for row in json.loads((tmp_path / "sweep/sweep.json").read_text())] == [
        "labels only, with augmentation"
    ]


def test_a_sweep_of_runs_without_numbers_makes_no_table(smoke, numbers, tmp_path):
    smoke("stage=probe", folder="sweep/0")[1].finish(numbers(test_accuracy=None))
    summarise(tmp_path / "sweep")
    assert not (tmp_path / "sweep/sweep.json").exists()


def test_a_sweep_over_labels_says_what_pre_training_is_worth_in_labels(smoke, numbers, tmp_path, capsys):
    job = 0
    for stage, more in (("baseline", 0.0), ("finetune", 0.05)):
        for labels, seed in itertools.product((20, 40, 80), (0, 1)):
            _, run = smoke(f"stage={stage}", f"budget.labels={labels}", f"seed={seed}", folder=f"sweep/{job}")
            run.finish(numbers(labels=labels, test_accuracy=0.5 + 0.1 * math.log2(labels / 20) + more + 0.01 * seed))
            job += 1
    summarise(tmp_path / "sweep")
    said = " ".join(capsys.readouterr().out.split())
    assert "what arms are worth in labels" in said
    assert "+17 (+17)" in said  # 40 · (√2 − 1)
    assert (tmp_path / "sweep/label_curve.png").stat().st_size > 5000
    page = (tmp_path / "sweep/report.html").read_text()
    assert "is worth 17 more" in page[: page.index("How sure:")]
    assert len((tmp_path / "sweep/results.csv").read_text().splitlines()) == 13


def test_a_schedule_that_was_chosen_for_each_job_is_no_setting_of_a_sweep(smoke, numbers, tmp_path, capsys):
    jobs = [(stage, labels) for stage in ("baseline", "finetune") for labels in (20, 40)]
    for job, (stage, labels) in enumerate(jobs):
        words = (f"stage={stage}", f"budget.labels={labels}", f"schedule.supervised.batch_size={labels}")
        _, run = smoke(*words, folder=f"sweep/{job}")
        tested = [{"class": "0", "inputs": 60}, {"class": "1", "inputs": 40}]
        found = run.finish(numbers(labels=labels, test_accuracy=0.6 + labels / 200))
        (run.folder / "result.json").write_text(json.dumps({**found, "per_class": tested}))
    recorded(tmp_path / "sweep", "stage=baseline,finetune", "budget.labels=20,40")
    summarise(tmp_path / "sweep")
    said = " ".join(capsys.readouterr().out.split())
    assert "batch_size" not in said
    assert "what arms are worth in labels" in said
    assert "70.0 (60.4 to 78.1)" in said  # of one seed, by the number of test inputs


def test_a_sweep_over_labels_without_a_rival_has_no_label_curve(smoke, numbers, tmp_path):
    for job, labels in enumerate((20, 40)):
        _, run = smoke("stage=finetune", f"budget.labels={labels}", folder=f"sweep/{job}")
        run.finish(numbers(labels=labels))
    summarise(tmp_path / "sweep")
    assert (tmp_path / "sweep/sweep.png").exists()
    assert not (tmp_path / "sweep/label_curve.png").exists()


def test_what_a_larger_sweep_left_in_the_folder_is_no_job_of_the_next_one(smoke, numbers, tmp_path):
    for job in range(3):
        smoke("stage=baseline", f"seed={job}", folder=f"sweep/{job}")[1].finish(numbers())
    recorded(tmp_path / "sweep", "stage=baseline", "seed=0,1")
    summarise(tmp_path / "sweep")
    assert [row["seeds"] for row in json.loads((tmp_path / "sweep/sweep.json").read_text())] == [[0, 1]]
