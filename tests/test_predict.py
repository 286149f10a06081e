"""Predictions on files: from the run's folder alone, calibrated, whatever the files are."""

import csv
import json
import shutil
from pathlib import Path

import finished_runs
import numpy as np
import pytest
import torch
from PIL import Image

import ssl_cli
from ssl_cli.config.compose import from_overrides
from ssl_cli.errors import ConfigError
from ssl_cli.runs.run import Run
from ssl_cli.stages.inputs import read_inputs
from ssl_cli.stages.predict import predict
from ssl_cli.training.calibration import (
    calibrated,
    conformal_scores,
    conformal_threshold,
    fit_temperature,
    labels_needed,
    set_sizes,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A classifier whose data are gone."""
    return finished_runs.train_on_pictures(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory) -> Path:
    return finished_runs.train_on_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture
def predicted(tmp_path):
    """Predict, and read what was written: the numbers, the rows of predictions.csv and the folder."""

    def make(run: Path, inputs: Path, *overrides: str) -> tuple[dict, list[dict[str, str]], Path]:
        words = ("stage=predict", f"stage.run={run}", f"stage.inputs={inputs}", "runtime.threads=1", *overrides)
        config = from_overrides(*words)
        folder = tmp_path / f"predictions{len(list(tmp_path.glob('predictions*')))}"
        result = predict(config, Run(folder, config))
        return result, rows(folder / "predictions.csv"), folder

    return make


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_files_get_the_classes_that_their_pixels_have(trained, tmp_path, predicted):
    classes = finished_runs.save_pictures(tmp_path / "new", 30)
    result, found, folder = predicted(trained, tmp_path / "new", "stage.all_classes=true")
    assert [row["path"] for row in found] == [f"{number:03d}.png" for number in range(30)]
    accuracy = np.mean(
        [row["class"] == str(finished_runs.CLASSES.index(c)) for row, c in zip(found, classes, strict=True)]
    )
    assert accuracy > 0.9
    for row in found:
        every = [float(row[f"p({name})"]) for name in ("0", "1", "2")]
        assert sum(every) == pytest.approx(1, abs=1e-5)
        assert float(row["probability"]) == max(every)
        assert row["unsure"] in ("true", "false")
    # In the precision of this machine, which may be less than that of Python's.
    own = ssl_cli.load_classifier(trained)(sorted((tmp_path / "new").iterdir())).probabilities
    assert np.allclose([float(row["p(0)"]) for row in found], own[:, 0], atol=0.02)
    assert json.loads((trained / "calibration.json").read_text())["temperature"] != pytest.approx(1, abs=0.05)
    assert result["inputs"] == 30
    assert result["calibration"].startswith("probabilities calibrated on 60 validation labels")
    with Image.open(folder / "least_certain.png") as sheet:
        assert sheet.width > 1000
    assert not (folder / "skipped.csv").exists()


def test_it_says_of_the_test_set_what_the_run_said(trained, tmp_path, predicted):
    finished_runs.save_pictures(tmp_path / "new", 60)
    _, found, _ = predicted(trained, tmp_path / "new")
    labels = [str(number % 3) for number in range(60)]
    accuracy = sum(row["class"] == label for row, label in zip(found, labels, strict=True)) / 60
    assert accuracy == pytest.approx(json.loads((trained / "result.json").read_text())["test_accuracy"], abs=1e-6)


def test_files_of_other_sizes_and_kinds_are_read_and_others_are_listed(trained, tmp_path, predicted):
    folder = tmp_path / "new"
    finished_runs.save_pictures(folder / "deep" / "er", 2)
    Image.new("RGBA", (90, 40), (255, 0, 0, 128)).save(folder / "wide.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    (folder / "empty.png").touch()
    (folder / "notes.md").write_text("mine")
    (folder / ".hidden.png").write_bytes(b"")
    result, found, out = predicted(trained, folder)
    assert [row["path"] for row in found] == ["deep/er/000.png", "deep/er/001.png", "wide.png"]
    skipped = {row["path"]: row["reason"] for row in rows(out / "skipped.csv")}
    assert set(skipped) == {"broken.jpg", "empty.png", "notes.md"}
    assert skipped["empty.png"] == "empty file"
    assert (result["inputs"], result["skipped"]) == (3, 3)


def test_folders_that_are_linked_are_read_too_but_in_no_circle(trained, tmp_path, predicted):
    finished_runs.save_pictures(tmp_path / "elsewhere", 2)
    (tmp_path / "new").mkdir()
    (tmp_path / "new/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/circle").symlink_to(tmp_path / "new")
    (tmp_path / "new/itself").symlink_to(tmp_path / "new/itself")
    _, found, _ = predicted(trained, tmp_path / "new")
    assert [row["path"] for row in found] == ["linked/000.png", "linked/001.png"]


def test_one_file_is_enough_and_none_that_can_be_read_is_a_mistake(trained, tmp_path, predicted):
    finished_runs.save_pictures(tmp_path / "new", 1)
    _, found, _ = predicted(trained, tmp_path / "new" / "000.png")
    assert [row["path"] for row in found] == ["000.png"]
    (tmp_path / "new" / "000.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"holds no image that can be read; 000.png: no image"):
        predicted(trained, tmp_path / "new")
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="has no file whose name ends as that of images does"):
        predicted(trained, tmp_path / "none")


def test_without_validation_labels_nothing_is_called_calibrated(tmp_path, predicted):
    run = finished_runs.train_on_pictures(tmp_path / "plain", "budget.validation=0")
    assert not (run / "calibration.json").exists()
    finished_runs.save_pictures(tmp_path / "new", 3)
    result, found, _ = predicted(run, tmp_path / "new")
    assert result["calibration"].startswith("uncalibrated")
    assert result["unsure"] is None
    assert {row["unsure"] for row in found} == {""}


def test_a_confidence_that_few_labels_cannot_give_makes_every_input_unsure(trained, tmp_path, predicted):
    finished_runs.save_pictures(tmp_path / "new", 3)
    result, found, _ = predicted(trained, tmp_path / "new", "stage.confidence=0.99")
    assert {row["unsure"] for row in found} == {"true"}
    assert "stage.confidence=0.99 needs 99 of them" in result["calibration"]


@pytest.mark.parametrize(
    "overrides",
    [("stage.train=head",), ("head.keep=all", "stage=finetune"), ("head.keep=1", "stage=finetune", "method=rotation")],
)
def test_every_kind_of_classifier_is_rebuilt_without_its_method(tmp_path, predicted, overrides):
    run = finished_runs.train_on_pictures(tmp_path / "other", *overrides)
    finished_runs.save_pictures(tmp_path / "new", 60)
    _, found, _ = predicted(run, tmp_path / "new")
    right = sum(row["class"] == str(number % 3) for number, row in enumerate(found)) / 60
    assert right == pytest.approx(json.loads((run / "result.json").read_text())["test_accuracy"], abs=1e-6)


def test_texts_come_from_tables_and_files(of_texts, tmp_path, predicted):
    folder = tmp_path / "new"
    folder.mkdir()
    new = finished_runs.sentences(10, 7)
    with (folder / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "said"), *((n, text) for n, (text, _) in enumerate(new)), (99, "")])
    (folder / "b.txt").write_text("soup and bread and cheese")
    (folder / "c.jsonl").write_text('{"said": "ball goal team"}\n{"said": \n')
    _, found, out = predicted(of_texts, folder, "stage.column=said")
    assert [row["path"] for row in found] == [*(f"a.csv:{n}" for n in range(2, 12)), "b.txt:1", "c.jsonl:1"]
    assert [row["class"] for row in found] == [*(label for _, label in new), "food", "sport"]
    assert rows(out / "skipped.csv")[0] == {"path": "a.csv:12", "reason": "empty"}
    assert "line 2 is no JSON" in rows(out / "skipped.csv")[1]["reason"]
    assert len(rows(out / "least_certain.csv")) == 12
    with pytest.raises(ConfigError, match=r"stage.column=words: .*a.csv has no such column; it has id, said"):
        predicted(of_texts, folder / "a.csv", "stage.column=words")


# What is refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("dataset=letters", "seed=3"),
            "dataset=letters: stage=predict takes data, network and preprocessing from the run",
        ),
        (("backbone=vit", "budget.labels=9"), "backbone=vit, budget.labels=9: stage=predict takes"),
        (("augment.scale=1",), "augment.scale=1: stage=predict takes"),
        (("stage.confidence=1",), "stage.confidence=1: must be in (0, 1)"),
        (("stage.inputs=nowhere",), "nowhere: there is no such file or folder"),
        (("stage.run=null",), "stage.run=null: must be the folder of a finished run"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(tmp_path, words, said):
    with pytest.raises(ConfigError) as caught:
        from_overrides("stage=predict", "stage.run=x", f"stage.inputs={tmp_path}", *words)
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1


def test_the_command_refuses_a_comparison_and_names_its_arms(cli, trained, tmp_path):
    whole = tmp_path / "compared"
    for arm in ("labels-only", "same-head"):
        shutil.copytree(trained, whole / "seed0" / arm)
    shutil.copy(trained / "config.yaml", whole / "config.yaml")
    own = json.loads((trained / "result.json").read_text())
    (whole / "result.json").write_text(json.dumps({**own, "ends_in": "comparison", "rows": []}))
    done = cli("predict", "stage.run=compared", "stage.inputs=.")
    assert done.returncode == 2
    assert "is a comparison of 2 classifiers; name one of them: " in done.stderr
    assert "compared/seed0/labels-only, " in done.stderr
    assert not list((tmp_path / "outputs").rglob("config.yaml"))


def test_the_command_predicts_where_the_data_are_gone(cli, trained, tmp_path):
    finished_runs.save_pictures(tmp_path / "new", 5)
    done = cli("predict", f"stage.run={trained}", "stage.inputs=new", "runtime.threads=1", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    assert "5 predictions: " in done.stdout
    assert len(rows(tmp_path / "out" / "predictions.csv")) == 5
    refused = cli("predict", f"stage.run={trained}", "stage.inputs=new", "dataset=letters")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"height": 10**9}, r"height must be a whole number in \[1, 16384\]"),
        ({"height": True}, "height must be a whole number"),
        ({"fit": "shrink"}, "fit must be one of crop, pad, stretch"),
        ({"classes": "abc"}, "classes must be a list of names"),
        ({"kind": "sounds"}, "kind must be images or texts"),
        ({"format": 9}, "format must be 1"),
        ({"classes": ["a", "b", "c", "d"]}, "weights are not those of the network in its config.yaml"),
    ],
)
def test_a_strangers_inputs_are_checked(trained, tmp_path, predicted, change, said):
    run = tmp_path / "stranger"
    shutil.copytree(trained, run)
    about = json.loads((run / "inputs.json").read_text())
    (run / "inputs.json").write_text(json.dumps(about | change))
    with pytest.raises(ConfigError, match=said):
        predicted(run, tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "calibration.json cannot be read"),
        ("[]", "format must be 1; temperature must be a number in"),
        ('{"format": 1, "temperature": 0, "scores": [0.1]}', "temperature must be a number in"),
        ('{"format": 1, "temperature": NaN, "scores": [0.1]}', "temperature must be a number in"),
        ('{"format": 1, "temperature": 1, "scores": [0.1, 2]}', "scores must be a list of numbers"),
    ],
)
def test_a_strangers_calibration_is_checked(trained, tmp_path, predicted, content, said):
    run = tmp_path / "stranger"
    shutil.copytree(trained, run)
    (run / "calibration.json").write_text(content)
    with pytest.raises(ConfigError, match=said):
        predicted(run, tmp_path)


def test_a_run_without_inputs_json_says_so(trained, tmp_path, predicted):
    run = tmp_path / "old"
    shutil.copytree(trained, run)
    (run / "inputs.json").unlink()
    with pytest.raises(ConfigError, match=r"inputs.json is missing: the run is of an earlier version"):
        predicted(run, tmp_path)


def test_inputs_are_described_as_the_data_set_had_them(trained, of_texts):
    facts = read_inputs("stage.run", trained)
    assert facts.kind == "images"
    assert facts.classes == ("0", "1", "2")
    assert facts.reading is not None
    assert (facts.reading.height, facts.reading.channels, facts.reading.fit) == (12, 1, "crop")
    assert read_inputs("stage.run", of_texts).classes == ("food", "sport")


# The mathematics


def test_the_temperature_that_made_the_labels_is_found():
    source = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 5, generator=source)
    labels = torch.multinomial((logits / 0.5).softmax(1), 1, generator=source)[:, 0]
    assert fit_temperature(logits, labels) == pytest.approx(0.5, rel=0.03)
    assert fit_temperature(4 * logits, labels) == pytest.approx(2.0, rel=0.03)


def test_a_few_right_answers_are_no_reason_for_certainty():
    labels = torch.arange(8) % 2
    logits = 30 * torch.nn.functional.one_hot(labels).float()
    probabilities = calibrated(logits, fit_temperature(logits, labels))
    assert 0.9 < float(probabilities.max()) < 0.97


def test_the_threshold_is_the_right_order_statistic():
    scores = torch.tensor([0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert conformal_threshold(scores, 0.9) == pytest.approx(0.9)  # the ninth of nine, ⌈10 · 0.9⌉
    assert conformal_threshold(scores, 0.5) == pytest.approx(0.5)
    assert conformal_threshold(scores, 0.91) == float("inf")
    assert (labels_needed(0.9), labels_needed(0.5), labels_needed(0.95)) == (9, 1, 19)


def test_sets_hold_the_true_class_as_often_as_they_say():
    source = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(40_000, 4, generator=source)
    labels = torch.multinomial(logits.softmax(1), 1, generator=source)[:, 0]
    probabilities = calibrated(logits, 1.0)
    threshold = conformal_threshold(conformal_scores(probabilities[:2000], labels[:2000]), 0.9)
    held = conformal_scores(probabilities[2000:], labels[2000:]) <= threshold
    assert float(held.double().mean()) == pytest.approx(0.9, abs=0.02)
    assert set_sizes(torch.tensor([[0.6, 0.4], [0.95, 0.05]]), 0.7).tolist() == [2, 1]
