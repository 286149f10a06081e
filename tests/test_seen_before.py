"""Test images that a pre-training has seen, since the folder had other files then, are said in the result."""

import csv
from pathlib import Path

import pytest
from test_folder import classes, save

from ssl_cli.data.dataset import _load_once
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.pretrain import pretrain


@pytest.fixture
def of_folder(tmp_path, smoke):
    def make(root: Path, *words: str, folder: str):
        _load_once.cache_clear()
        return smoke(
            "dataset=folder", f"dataset.root={root}", f"dataset.cache={tmp_path / 'cache'}", "augment=natural", "dataset.size=16",
            "backbone=small", "budget=all", "schedule.pretrain.batch_size=8", *words, folder=folder,
        )  # fmt: skip

    return make


def split_of(folder: Path) -> dict[str, str]:
    return {row["path"]: row["split"] for row in csv.DictReader((folder / "split.csv").read_text().splitlines())}


def test_files_that_were_added_since_the_pre_training_are_said_with_what_they_moved_into_the_test(tmp_path, of_folder):
    root = classes(tmp_path / "own")
    earlier, later = (of_folder(root, "stage=pretrain", folder=f"pretrained{n}") for n in (1, 2))
    pretrain(*earlier)
    from_first = f"checkpoint={tmp_path / 'pretrained1'}"
    assert not seen(finetune(*of_folder(root, "stage=finetune", from_first, folder="same")))
    save(root, {f"{kind}/more{n}.png": 1000 * k + 500 + n for k, kind in enumerate(("cat", "dog")) for n in range(10)})
    (said,) = seen(finetune(*of_folder(root, "stage=finetune", from_first, folder="tuned")))
    before, now = split_of(tmp_path / "pretrained1"), split_of(tmp_path / "tuned")
    tests = [path for path, part in now.items() if part == "test"]
    moved = [path for path in tests if before.get(path) == "train"]
    assert moved
    assert said.startswith(f"{len(moved)} of {len(tests)} test inputs were training inputs of ")
    assert "pretrained1, which was made when the folder held other files" in said
    again = of_folder(root, "stage=pretrain", f"init_from={tmp_path / 'pretrained1'}", folder="further")
    pretrain(*again)
    from_second = ("stage=finetune", f"checkpoint={tmp_path / 'further'}")
    (still,) = seen(finetune(*of_folder(root, *from_second, folder="twice")))
    assert still == said  # it began with the one that saw them
    _load_once.cache_clear()
    pretrain(*later)
    assert not seen(
        finetune(*of_folder(root, "stage=finetune", f"checkpoint={tmp_path / 'pretrained2'}", folder="fresh"))
    )


def seen(result: dict) -> list[str]:
    return [caveat for caveat in result["caveats"] if "were training inputs of" in caveat]
