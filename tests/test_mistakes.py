"""What a classifier gets wrong, class by class and input by input."""

import csv
import json
import re

import torch

from ssl_cli.data.measures import confusion, per_class
from ssl_cli.stages.finetune import finetune


def test_each_class_by_itself():
    true, said = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 1, 1, 1, 1])
    rows = per_class(confusion(said, true, 3), torch.tensor([0, 0, 1, 2, 2, 2]), ("a", "b", "c"))
    assert rows == [
        {"class": "a", "labels": 2, "inputs": 3, "accuracy": round(1 / 3, 6), "taken_for": "b"},
        {"class": "b", "labels": 1, "inputs": 2, "accuracy": 1.0, "taken_for": None},
        {"class": "c", "labels": 3, "inputs": 0, "accuracy": None, "taken_for": None},
    ]


def test_every_wrong_test_input_is_listed_the_most_certain_first(smoke):
    config, run = smoke("stage=baseline")
    result = finetune(config, run)
    with (run.folder / "mistakes.csv").open() as file:
        rows = list(csv.DictReader(file))
    tested = sum(row["inputs"] for row in result["per_class"])
    assert len(rows) == round((1 - result["test_accuracy"]) * tested)
    assert all(row["true"] != row["predicted"] for row in rows)
    certain = [float(row["probability"]) for row in rows]
    assert certain == sorted(certain, reverse=True)
    with (run.folder / "labels.csv").open() as file:
        seen = {row["item"]: row["class"] for row in csv.DictReader(file)}
    assert all(seen[row["most similar labelled input"]] == row["its class"] for row in rows[:1000])
    assert (run.folder / "mistakes.png").stat().st_size > 0
    assert json.loads((run.folder / "result.json").read_text())["per_class"] == result["per_class"]
    right = sum(round(row["accuracy"] * row["inputs"]) for row in result["per_class"] if row["inputs"])
    assert right / tested == result["test_accuracy"]


def test_the_report_has_each_class_and_the_mistakes(smoke):
    from ssl_cli.stages.compare import compare

    config, run = smoke("stage=compare")
    compare(config, run)
    page = (run.folder / "report.html").read_text()
    assert "Accuracy of each class, seed 0" in page
    for title in ("On the test set: ", "Test inputs that are wrong: "):
        assert len(re.findall(f"<figcaption>{title}", page)) == 2  # of the best arm, and of the best with labels only


def test_a_run_that_is_too_short_to_mean_anything_says_so(smoke):
    short = finetune(*smoke("stage=finetune"))["caveats"]
    assert short == [
        "training on labels took 2 steps, too few for its numbers to mean anything",
        "pre-training took 2 steps, too few for its numbers to mean anything",
    ]
    longer = finetune(
        *smoke("stage=baseline", "schedule.supervised.epochs=9", "schedule.supervised.max_steps=20", folder="longer")
    )
    assert longer["caveats"] == []
