"""Which inputs to label next: what is proposed, what is written, and that it can be used."""

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import finished_runs
import numpy as np
import pytest

import ssl_cli
from ssl_cli.config.compose import from_overrides
from ssl_cli.errors import ConfigError
from ssl_cli.runs.run import Run
from ssl_cli.stages.automatic import settings_for
from ssl_cli.stages.classifier_results import opened
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.pretrain import pretrain
from ssl_cli.stages.select import select

TINY = (
    "augment=digits",
    "backbone=small",
    "schedule=smoke",
    "backbone.width=4",
    "runtime.threads=1",
    "runtime.precision=float32",
)
BY_CLASSIFIER = ("seed=0", "runtime.threads=1", "runtime.precision=float32")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, *cells: tuple[object, ...]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(cells)
    return path


@pytest.fixture
def chosen(tmp_path):
    """What a command line chooses: its result and its folder."""

    def make(*words: str, small: tuple[str, ...] = TINY) -> tuple[dict, Path]:
        config = settings_for("stage=select", *small, *words, f"outputs={tmp_path / 'outputs'}")
        folder = tmp_path / f"chosen{len(list(tmp_path.glob('chosen*')))}"
        return select(config, Run(folder, config)), folder

    return make


@pytest.fixture
def photos(tmp_path) -> tuple[str, ...]:
    """A folder of 60 pictures with no label at all, as a person has it before the first one: the words that name it."""
    finished_runs.save_pictures(tmp_path / "photos", 60)
    return ("dataset=folder", f"dataset.root={tmp_path / 'photos'}", f"dataset.cache={tmp_path / 'cache'}")


def label_all(page: Path, names: dict[str, str]) -> str:
    """The table that the page makes when each of its inputs gets its class, by the page's own code."""
    text = page.read_text(encoding="utf-8")
    logic = re.findall(r'<script id="logic">(.*?)</script>', text, re.DOTALL)[0]
    data = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)[0]
    code = f"""{logic}
    const data = {data}, names = {json.dumps(names)};
    let state = start();
    for (const entry of data.entries) state = given(state, data.entries.length, names[entry.cells[0]]);
    process.stdout.write(toBytes(toCsv(rowsOf(data, state))));"""
    done = subprocess.run(["node", "-"], input=code.encode(), capture_output=True, timeout=60, check=True)
    return done.stdout.decode()


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node to run the page's code")
def test_from_no_label_to_a_classifier_by_the_page_twice(photos, chosen, tmp_path):
    """What the page makes goes into dataset.labels as it stands; a second page keeps the labels of the first."""
    true = dict(zip([f"{n:03d}.png" for n in range(60)], finished_runs.CLASSES * 20, strict=True))
    result, first = chosen("stage.count=30", *photos)
    assert (result["labels"], result["inputs"], result["candidates"]) == (0, 30, 60)
    table = tmp_path / "labels.csv"
    table.write_text(label_all(first / "label.html", true))
    assert {row["path"] for row in rows(table)} == {row["path"] for row in rows(first / "to_label.csv")}
    words = ("stage=baseline", "budget=all", *TINY, *photos, f"dataset.labels={table}")
    config = from_overrides(*words)
    trained = Run(tmp_path / "trained", config)
    assert finetune(config, trained)["classes"] == 3
    result, second = chosen(
        "stage.by=margin",
        "stage.count=5",
        f"stage.run={trained.folder}",
        *photos,
        f"dataset.labels={table}",
        small=BY_CLASSIFIER,
    )
    assert not {row["path"] for row in rows(second / "to_label.csv")} & {row["path"] for row in rows(table)}
    again = list(csv.DictReader(label_all(second / "label.html", true).splitlines()))
    assert {row["path"]: row["label"] for row in again if row["label"]} == {
        path: true[path] for path in [row["path"] for row in [*rows(table), *rows(second / "to_label.csv")]]
    }


def test_pretraining_needs_no_label(photos, tmp_path):
    config = from_overrides("stage=pretrain", *TINY, *photos)
    assert pretrain(config, Run(tmp_path / "pretrained", config))["inputs"] == 60
    config = from_overrides("stage=baseline", *TINY, *photos)
    with pytest.raises(
        ConfigError, match="dataset=folder: has no labelled inputs, and stage=baseline needs some; stage=select says"
    ):
        finetune(config, Run(tmp_path / "trained", config))


def test_a_folder_of_classes_offers_them_and_proposes_only_what_is_beside_them(tmp_path, chosen):
    finished_runs.save_pictures(tmp_path / "photos" / "unlabelled", 20, seed=3)
    finished_runs.save_pictures(tmp_path / "photos" / "cats", 10, seed=4)
    finished_runs.save_pictures(tmp_path / "photos" / "dogs", 10, seed=5)
    result, folder = chosen(
        "stage.by=k_centre", "stage.count=6", "dataset=folder", f"dataset.root={tmp_path / 'photos'}",
        f"dataset.cache={tmp_path / 'cache'}",
    )  # fmt: skip
    found = rows(folder / "to_label.csv")
    assert result["candidates"] == 20
    assert [row["rank"] for row in found] == list("123456")
    assert all(row["path"].startswith("unlabelled/") and row["reason"] for row in found)
    data = json.loads(re.findall(r'"application/json">(.*?)</script>', (folder / "label.html").read_text())[0])
    assert data["classes"] == ["cats", "dogs"]
    assert [entry["cells"][0] for entry in data["entries"]] == [row["path"] for row in found]
    assert len(data["others"]) == 20
    assert all(path.startswith(label) for path, label in data["others"])
    assert (folder / "to_label.png").stat().st_size > 1000


SIMULATED = ("dataset=synthetic", "stage.simulate=true", "stage.count=12")


def test_a_budget_takes_exactly_what_was_chosen(chosen, smoke, tmp_path):
    result, folder = chosen("stage.by=k_centre", *SIMULATED)
    items = [row["item"] for row in rows(folder / "to_label.csv")]
    assert len(set(items)) == 12
    assert result["pretraining"]["folder"] == str(folder / "pretrain")
    file = f"budget.file={folder / 'to_label.csv'}"
    config, run = smoke("stage=finetune", "budget=listed", file, f"checkpoint={folder / 'pretrain'}")
    assert finetune(config, run)["labels"] == 12
    assert [row["item"] for row in rows(run.folder / "labels.csv")] == items
    again, more = chosen("stage.by=k_centre", *SIMULATED, f"stage.labels={run.folder / 'labels.csv'}")
    assert (again["labels"], again["candidates"]) == (12, 244)
    assert not set(items) & {row["item"] for row in rows(more / "to_label.csv")}


def test_a_run_does_not_go_on_with_other_labels_than_it_began_with(smoke, tmp_path):
    table = write_rows(tmp_path / "list.csv", ("item",), *((item,) for item in range(20)))
    config, run = smoke("stage=baseline", "budget=listed", f"budget.file={table}")
    opened(config, run)
    opened(config, run)
    write_rows(table, ("item",), *((item,) for item in range(21)))
    with pytest.raises(ConfigError, match=r"resume=.*run: began with other labels, which its labels\.csv lists"):
        finetune(config, run)
    assert len(rows(run.folder / "labels.csv")) == 20


def test_random_takes_no_network(chosen):
    result, folder = chosen("stage.by=random", *SIMULATED, small=BY_CLASSIFIER)
    assert result["pretraining"] is None
    assert not list(folder.glob("**/*.safetensors"))


@pytest.mark.parametrize("by", ["margin", "entropy", "margin_then_k_centre"])
def test_a_classifier_is_asked_for_its_probabilities(by, tmp_path, chosen, monkeypatch):
    run = finished_runs.train_on_pictures(tmp_path / "trained")
    finished_runs.save_pictures(tmp_path / "photos", 40, seed=7)
    words = (
        "dataset=folder",
        f"dataset.root={tmp_path / 'photos'}",
        f"dataset.cache={tmp_path / 'cache'}",
        "dataset.size=12",
    )
    _, folder = chosen(f"stage.by={by}", "stage.count=4", f"stage.run={run}", *words, small=BY_CLASSIFIER)
    found = rows(folder / "to_label.csv")
    classify = ssl_cli.load_classifier(run)
    monkeypatch.setattr(classify, "_calibration", None)
    everything = sorted((tmp_path / "photos").iterdir())
    probabilities = classify(everything).probabilities
    ordered = sorted(probabilities.tolist(), key=lambda row: sorted(row)[-1] - sorted(row)[-2])
    own = [probabilities[int(row["path"].removesuffix(".png"))] for row in found]
    if by == "margin":
        assert [float(row["score"]) for row in found] == pytest.approx(
            [sorted(r)[-1] - sorted(r)[-2] for r in ordered[:4]], abs=1e-4
        )
        best, second = sorted(range(3), key=lambda label: -own[0][label])[:2]
        assert found[0]["reason"].startswith(f"{best} or {second}: ")
    if by == "entropy":
        scores = [float(row["score"]) for row in found]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] == pytest.approx(float(-(own[0] * np.log(own[0])).sum()), abs=1e-3)


def test_texts_are_chosen_with_their_words(tmp_path, chosen):
    table = write_rows(
        tmp_path / "texts.csv", ("text", "label"),
        *((text, label if number < 20 else "") for number, (text, label) in enumerate(finished_runs.sentences(60, 0))),
    )  # fmt: skip
    words = (
        "dataset=texts",
        f"dataset.root={table}",
        f"dataset.cache={tmp_path / 'cache'}",
        "dataset.tokenizer.vocabulary=300",
    )
    small = ("augment=text", "backbone=bag", "backbone.dim=8", "schedule=smoke", "head=linear", *BY_CLASSIFIER)
    result, folder = chosen("stage.count=5", *words, small=small)
    assert result["candidates"] == 40
    unlabelled = {row["text"] for row in rows(table) if not row["label"]}
    assert {row["text"] for row in rows(folder / "to_label.csv")} <= unlabelled
    data = json.loads(re.findall(r'"application/json">(.*?)</script>', (folder / "label.html").read_text())[0])
    assert data["columns"] == ["item", "label", "text"]
    assert [entry["text"] for entry in data["entries"]] == [row["text"] for row in rows(folder / "to_label.csv")]


def test_a_classifier_of_other_inputs_is_refused_and_nothing_is_left(tmp_path, cli):
    run = finished_runs.train_on_pictures(tmp_path / "trained")
    done = cli(
        "select",
        "stage.by=margin",
        f"stage.run={run}",
        "stage.simulate=true",
        "dataset=synthetic",
        "hydra.run.dir=here",
    )
    assert done.returncode == 2
    assert "was trained on inputs of 1×12×12, and dataset=synthetic has inputs of 1×28×28" in done.stderr
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ([("item",), (99999,)], "lists item 99999, which is none of the 256 training inputs of dataset=synthetic"),
        ([("item",), (3,), (3,)], "lists item 3 twice"),
        ([("path",), ("a.png",)], "has no column item, and the inputs of dataset=synthetic have no paths"),
        ([("item", "label"), (0, "nonsense")], "says that item 0 is nonsense, and dataset=synthetic says "),
    ],
)
def test_a_table_that_contradicts_the_data_is_refused(cells, sentence, chosen, tmp_path):
    table = write_rows(tmp_path / "labels.csv", *cells)
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        chosen("stage.by=random", *SIMULATED, f"stage.labels={table}", small=BY_CLASSIFIER)


def test_rows_without_a_label_are_proposed_again(chosen, tmp_path):
    table = write_rows(
        tmp_path / "labels.csv",
        ("item", "label"),
        *((item, "") for item in range(200)),
        (200, "class " + str(200 % 10)),
    )
    result, _ = chosen("stage.by=random", *SIMULATED, f"stage.labels={table}", small=BY_CLASSIFIER)
    assert result["labels"] == 1
