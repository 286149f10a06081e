import csv
from pathlib import Path

import pytest
import torch
from PIL import Image

from ssl_cli.report import figure, plots
from ssl_cli.report.texts import save_texts
from ssl_cli.stages import text_pictures
from ssl_cli.stages.pretrain import pretrain

WORDS = {"drinks": "tea coffee juice water", "tools": "hammer chisel spanner drill"}


def width(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.width


@pytest.fixture
def pretrained(tmp_path, smoke, monkeypatch):
    """A small pre-training on texts, and the lines of its picture of nearest texts."""
    seen = []
    monkeypatch.setattr(text_pictures, "save_texts", lambda rows, path: (seen.extend(rows), save_texts(rows, path)))
    path = tmp_path / "texts.csv"
    with path.open("w", newline="") as file:
        rows = [(f"{words} \x1b[31m $x$ {number}", label) for label, words in WORDS.items() for number in range(20)]
        csv.writer(file).writerows([("text", "label"), *rows, ("nobody knows", "")])
    config, run = smoke(
        "stage=pretrain", "dataset=texts", f"dataset.root={path}", f"dataset.cache={tmp_path / 'cache'}", "budget.labels=4",
        "dataset.tokenizer.vocabulary=320", "backbone=bag", "augment=text", "schedule.pretrain.evaluate_every=0",
    )  # fmt: skip
    pretrain(config, run)
    return run.folder, seen


def test_a_pre_training_on_texts_shows_their_lengths_and_which_are_near(pretrained):
    folder, rows = pretrained
    for name in ("lengths.png", "nearest.png", "views.png"):
        assert width(folder / name) > 300
    assert [name for name, _ in rows[:4]] == ["test text", *(name for name, _ in rows[1:4])]
    assert len(rows) == 4 * text_pictures.ASKED
    groups = [rows[first : first + 4] for first in range(0, len(rows), 4)]
    for (_, asked), *near in groups:
        cosines = [float(name.removeprefix("cosine ")) for name, _ in near]
        assert cosines == sorted(cosines, reverse=True)
        assert {text.partition("]")[0] for _, text in near} == {
            asked.partition("]")[0]
        }  # the same words, the same class


def test_names_of_classes_are_no_commands_to_charts_and_are_not_clipped(tmp_path):
    names = ("$\\frac{", "a\x1b[31m\nb", "x" * 100, *(f"class_{number}_$y$" for number in range(22)))
    assert figure.written("$a$\x1b\n b") == r"\$a\$ b"
    assert len(figure.written("x" * 100)) == figure.LONGEST
    plots.save_confusion(torch.eye(25).long(), names, tmp_path / "a.png", "true class", "answer", "test accuracy")
    plots.save_confusion(torch.eye(2).long(), ("a", "b"), tmp_path / "b.png", "true class", "answer", "test accuracy")
    assert width(tmp_path / "a.png") > width(tmp_path / "b.png")


def test_control_characters_and_long_words_stay_within_the_picture(tmp_path):
    save_texts([("text", "a\x00b\x1b[0m\u2028" + "w" * 400), ("view", "\tplain\n")], tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as file:
        picture = file.convert("L")
    edge = picture.crop((picture.width - 4, 0, picture.width, picture.height))
    assert edge.getextrema() == (255, 255)
    assert picture.height < 20 * 6 + 30


def test_the_picture_of_lengths_shows_where_they_are_cut(tmp_path):
    lengths = torch.arange(2, 300)
    plots.save_lengths(lengths, {"augment.pretrain.max_length": 64}, tmp_path / "with.png")
    plots.save_lengths(lengths, {}, tmp_path / "without.png")
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()
