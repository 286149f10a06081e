"""Accidents around a run: a disk that is full or read-only, memory that is short, folders that are moved or removed."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from finished_runs import CLASSES, pictures
from PIL import Image
from test_damaged_files import IMAGES, LONGER, QUICK
from typed_commands import Commands, commands

from ssl_cli.report import curves, plots
from ssl_cli.stages import same_data
from ssl_cli.stages.pretrain import pretrain

SMALL = ("dataset=synthetic", "backbone.width=4", *QUICK)


@pytest.fixture(scope="module")
def typed() -> Iterator[Commands]:
    with commands() as ready:
        yield ready


@contextlib.contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own, mounted in a folder; the test is skipped where this user may not."""
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(options, capture_output=True, check=False).returncode:
        pytest.skip("a disk to fill can be mounted by root alone, on Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    """A file that leaves so many bytes of a disk."""
    path, free = folder / "filler", shutil.disk_usage(folder).free
    path.write_bytes(b"\0" * max(free - leave, 0))
    return path


def lines(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("ssl-cli: ")]


# The disk


def test_a_disk_that_fills_up_costs_no_checkpoint(typed, tmp_path):
    with disk(tmp_path / "disk", "4m") as folder:
        words = ("pretrain", *SMALL, *LONGER, "hydra.run.dir=run")
        assert typed(folder, *words, stop_after=3).code == 130
        run = folder / "run"
        before = (run / "checkpoint.pt").stat().st_size
        refused = 0
        for leave in (0, 4096, before // 2, before, before + 8192):
            filler = fill(folder, leave)
            code, said = typed(folder, "resume=run")
            assert "Traceback" not in said
            assert "Logging error" not in said
            if code == 0:
                break
            refused += 1
            assert code in (1, 2), said
            assert len(lines(said)) == 1, said
            assert "the disk is full" in said or "are free there; free some space" in said, said
            filler.unlink()
            whole = [path for path in run.glob("checkpoint*.pt") if path.stat().st_size == before]
            assert whole, sorted(run.iterdir())
            assert not [path for path in run.iterdir() if "partial" in path.name]
        assert refused >= 2
        (folder / "filler").unlink(missing_ok=True)
        code, said = typed(folder, "resume=run")
        assert code == 0, said
        assert json.loads((run / "result.json").read_text())["steps"] == 6


def test_a_new_run_on_a_full_disk_leaves_nothing(typed, tmp_path):
    with disk(tmp_path / "disk", "1m") as folder:
        fill(folder, 0)
        code, said = typed(folder, "pretrain", *SMALL, "hydra.run.dir=run")
        assert code in (1, 2)
        assert len(lines(said)) == 1, said
        assert "Traceback" not in said
        assert [path.name for path in folder.iterdir()] == ["filler"]


def test_a_full_cache_of_texts_says_which_setting_leads_elsewhere(typed, tmp_path):
    texts = "\n".join(["text\tlabel", *(f"{number} word {number % 7}\t{number % 2}" for number in range(200))])
    (tmp_path / "a.tsv").write_text(texts + "\n")
    with disk(tmp_path / "disk", "64k") as folder:
        fill(folder, 8192)
        words = (
            "dataset=texts",
            "dataset.root=a.tsv",
            "dataset.cache=disk/cache",
            "augment=text",
            "backbone=bag",
            "budget.labels=20",
        )
        code, said = typed(
            tmp_path, "baseline", *words, *QUICK, "dataset.tokenizer.vocabulary=300", "hydra.run.dir=run"
        )
        assert (code, "disk/cache: cannot be written (the disk is full" in said) == (2, True), said
        assert not (tmp_path / "run").exists()
        assert not list((folder / "cache").rglob(".*"))
        assert not list((folder / "cache").rglob("about.json"))


def test_a_read_only_disk_is_a_sentence_and_the_run_goes_on_when_it_is_not(typed, tmp_path):
    with disk(tmp_path / "disk", "8m") as folder:
        assert typed(folder, "pretrain", *SMALL, *LONGER, "hydra.run.dir=run", stop_after=3).code == 130
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        for words in (("resume=run",), ("pretrain", *SMALL, "hydra.run.dir=other")):
            code, said = typed(folder, *words)
            assert code in (1, 2)
            assert len(lines(said)) == 1, said
            assert "read-only" in said.lower() or "can be written into" in said, said
        assert typed(folder, "status", "run").code == 0
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        code, said = typed(folder, "resume=run")
        assert code == 0, said


# Memory, loss, pictures


def test_a_run_that_memory_is_not_enough_for_says_what_to_lower(typed, tmp_path):
    words = ("pretrain", *SMALL, "backbone.width=64", "schedule.pretrain.batch_size=256", "hydra.run.dir=run")
    code, said = typed(tmp_path, *words, memory=200 << 20)
    assert code == 1, said
    assert lines(said) == [line for line in lines(said) if "lower schedule.pretrain.batch_size=256" in line] != [], said
    assert "Traceback" not in said


def test_a_loss_that_explodes_says_at_which_step_what_to_try_and_what_is_left(typed, tmp_path):
    rate = "schedule.pretrain.optimiser.lr=1e30"
    code, said = typed(tmp_path, "pretrain", *SMALL, *LONGER, rate, "hydra.run.dir=run")
    assert code == 1, said
    (sentence,) = lines(said)
    assert "at step" in sentence
    assert "lower schedule's optimiser.lr" in sentence
    assert "at step" in json.loads((tmp_path / "run/failed.json").read_text())["error"]


def test_a_picture_that_cannot_be_drawn_costs_a_warning_and_not_the_result(smoke, monkeypatch, caplog):
    monkeypatch.setattr("ssl_cli.report.figure.log.propagate", True)
    config, run = smoke("stage=pretrain")

    def broken(*_: object, **__: object) -> None:
        raise ValueError("no such glyph")

    monkeypatch.setattr(curves, "figure_of", broken)
    with caplog.at_level("WARNING", logger="ssl_cli"):
        pretrain(config, run)
    assert "curves.png could not be drawn (ValueError: no such glyph); all else goes on" in caplog.text
    assert run.result is not None
    assert not (run.folder / "curves.png").exists()


def test_every_chart_is_one_that_may_be_missing():
    calls = ("save_figure(", ".save(buffer")
    for path in sorted((Path(plots.__file__).parent).glob("*.py")):
        code = path.read_text()
        for function in re.findall(
            r"^((?:@\w+\n)*)def (\w+)(.*?)(?=^\S|\Z)", code.replace("\n)", "\n )"), re.DOTALL | re.MULTILINE
        ):
            marks, name, body = function
            if any(call in body for call in calls) and name != "save_figure":
                assert "@optional" in marks, f"{path.name}: {name}"


@pytest.mark.slow
def test_no_command_needs_its_pictures(typed, tmp_path):
    for part, count, seed in (("train", 60, 0), ("test", 15, 1)):
        for number, (image, label) in enumerate(zip(*pictures(count, seed), strict=True)):
            path = tmp_path / "pics" / part / CLASSES[label] / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    folds = ("budget.labels=20", "stage.folds=2")
    # Each command with pictures that it draws, of which one at least must be missed.
    commands_of = {
        ("compare", "stage.seeds=1", "budget.labels=20", *IMAGES): ("arms.png", "feature_map.png", "views.png", "curves.png"),
        ("-m", "stage=baseline,finetune", "budget.labels=20,30", *IMAGES): ("label_curve.png", "sweep.png"),
        ("baseline", *folds, *IMAGES): ("folds.png", "suspect_labels.png"),
        ("probe", "checkpoint=CHECK", "budget.labels=20", *IMAGES): ("probe.png",),
        ("classical", "budget.labels=20", *IMAGES): ("confusion.png",),
        ("evaluate", "stage.run=TUNED", "stage.corruptions.noise=[0.1]"): ("corruptions.png", "inputs.png"),
        ("predict", "stage.run=TUNED", "stage.inputs=pics/test"): ("least_certain.png",),
        ("embed", "stage.run=TUNED", "stage.inputs=pics/test"): ("map.png",),
        ("select", "stage.simulate=true", "checkpoint=CHECK", *IMAGES): ("to_label.png",),
        ("report", "stage.runs=[COMPARED]"): ("arms.png",),
    }  # fmt: skip
    compared = tmp_path / "compared"
    places = {"CHECK": compared / "seed0/pretrain", "TUNED": compared / "seed0/labels-only", "COMPARED": compared}
    for number, (words, drawn) in enumerate(commands_of.items()):
        folder = compared if number == 0 else tmp_path / f"run{number}"
        asked = [re.sub("|".join(places), lambda name: str(places[name[0]]), word) for word in words]
        key = "hydra.sweep.dir" if "-m" in words else "hydra.run.dir"
        code, said = typed(tmp_path, *asked, f"{key}={folder}", draws=False)
        assert code == 0, said
        for name in drawn:
            assert f"{name} could not be drawn (ValueError: no such glyph); all else goes on" in said, said
        assert not {path.name for path in folder.rglob("*.png")} & set(drawn), said
        assert list(folder.rglob("result.json")), said


def test_dollars_in_the_name_of_a_class_are_letters(tmp_path):
    import torch

    names = ("$x_$", r"\frac{", "$", "a\x1b[31m")
    plots.save_confusion(torch.eye(4).long(), names, tmp_path / "c.png", "true", "answer", "accuracy")
    assert (tmp_path / "c.png").exists()


# Folders that move, go away or are older


def test_outputs_that_are_moved_as_a_whole_go_on(typed, tmp_path):
    here, there = tmp_path / "here", tmp_path / "away/there"
    (here / "outputs").mkdir(parents=True)
    assert typed(here, "pretrain", *SMALL, "hydra.run.dir=outputs/pretrain/one").code == 0
    words = ("finetune", *SMALL, "budget.labels=20", "schedule.supervised.epochs=6", "schedule.supervised.max_steps=6")
    assert typed(here, *words, "hydra.run.dir=outputs/finetune/two", stop_after=3).code == 130
    assert json.loads((here / "outputs/finetune/two/start.json").read_text()) == "../../pretrain/one"
    there.mkdir(parents=True)
    (here / "outputs").rename(there / "outputs")
    code, said = typed(there, "resume=outputs/finetune/two")
    assert (code, "Going on after step" in said) == (0, True), said
    result = json.loads((there / "outputs/finetune/two/result.json").read_text())
    assert Path(result["pretraining"]["folder"]) == there / "outputs/pretrain/one"
    assert not (there / "outputs/finetune/two/pretrain").exists()


def test_a_pretraining_that_was_removed_is_named_by_what_starts_from_it(typed, tmp_path):
    assert typed(tmp_path, "pretrain", *SMALL, "hydra.run.dir=one").code == 0
    words = (
        "finetune",
        *SMALL,
        "checkpoint=one",
        "budget.labels=20",
        "schedule.supervised.epochs=6",
        "hydra.run.dir=two",
    )
    assert typed(tmp_path, *words, "schedule.supervised.max_steps=6", stop_after=3).code == 130
    shutil.rmtree(tmp_path / "one")
    code, said = typed(tmp_path, "resume=two")
    assert (code, f"checkpoint={tmp_path / 'one'}: is no run's folder" in said) == (2, True), said
    assert (tmp_path / "two/checkpoint.pt").exists()


def test_a_finished_run_that_is_typed_again_does_not_need_what_it_started_from(typed, tmp_path):
    assert typed(tmp_path, "pretrain", *SMALL, "hydra.run.dir=one").code == 0
    words = ("finetune", *SMALL, "checkpoint=one", "budget.labels=20", "hydra.run.dir=two")
    assert typed(tmp_path, *words).code == 0
    shutil.rmtree(tmp_path / "one")
    code, said = typed(tmp_path, *words)
    assert (code, "was finished already" in said) == (0, True), said


def test_a_run_of_another_version_says_which_one(typed, tmp_path):
    assert typed(tmp_path, "pretrain", *SMALL, *LONGER, "hydra.run.dir=run", stop_after=3).code == 130
    born, settings = tmp_path / "run/run.json", tmp_path / "run/config.yaml"
    assert json.loads(born.read_text())["ssl_cli"]
    born.write_text(json.dumps({**json.loads(born.read_text()), "ssl_cli": "0.0.7"}))
    settings.write_text(settings.read_text() + "thrift: 3\n")
    code, said = typed(tmp_path, "resume=run")
    assert (code, "cannot be used (they are of version 0.0.7, and this is version" in said) == (2, True), said


def test_data_may_change_until_something_was_trained_on_them(smoke):
    config, run = smoke("stage=pretrain")
    note = run.folder / same_data.NAME
    note.write_text(json.dumps({"train": {}, "test": {}}))
    pretrain(config, run)
    assert json.loads(note.read_text())["train"]["inputs"] > 0


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_whoever_reads_only_the_first_line_sees_no_traceback(tmp_path, word):
    (tmp_path / "outputs").mkdir()
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "ssl_cli", word],
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_each_row_of_the_page_on_reliability_has_a_test():
    root = Path(__file__).parent
    page = (root.parent / "docs/reliability.md").read_text(encoding="utf-8")
    rows = [row for row in page.splitlines() if row.startswith("|") and not row.startswith(("| fault", "|---"))]
    there = set(
        re.findall(r"^def (test_\w+)", "\n".join(path.read_text() for path in root.glob("test_*.py")), re.MULTILINE)
    )
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, row
        assert set(named) <= there, row
