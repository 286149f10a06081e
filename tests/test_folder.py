"""Folders of real image files become data sets."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import _load_once, load
from ssl_cli.data.images import cache as image_cache
from ssl_cli.data.images import part as image_part
from ssl_cli.data.images import workers
from ssl_cli.data.images.files import PassingError, Reading, UnreadableError, read_image
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError


def picture(number: int, side: int = 40) -> Image.Image:
    """A photograph of nothing: smooth colours that differ from number to number."""
    coarse = np.random.default_rng(number).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def save(root: Path, names: dict[str, int], side: int = 40) -> Path:
    for name, number in names.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, side).save(path)
    return root


def classes(root: Path, per_class: int = 10) -> Path:
    return save(
        root, {f"{kind}/{kind}{n}.png": 100 * k + n for k, kind in enumerate(("cat", "dog")) for n in range(per_class)}
    )


@pytest.fixture
def read(tmp_path, monkeypatch):
    def reading(root: Path, *words: str) -> Dataset:
        _load_once.cache_clear()
        settings = from_overrides(
            "dataset=folder", f"dataset.root={root}", f"dataset.cache={tmp_path / 'cache'}", "budget=all", *words
        )
        return load(settings.dataset)

    return reading


# Files


READING = Reading(8, 8, 3)


def test_every_mode_becomes_eight_bits_of_red_green_and_blue(tmp_path):
    red = np.zeros((8, 8, 3), dtype=np.uint8)
    red[..., 0] = 200
    image = Image.fromarray(red)
    for name in ("a.png", "a.bmp", "a.tiff", "a.webp", "a.gif", "A.PNG"):
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        got = read_image(tmp_path / name, READING)
        assert got.shape == (3, 8, 8)
        assert got[:, 0, 0].tolist() == [200, 0, 0]
    for mode in ("CMYK", "P", "RGBA", "YCbCr"):
        name = {"CMYK": "b.tiff", "YCbCr": "b.jpg"}.get(mode, "b.png")
        image.convert(mode).save(tmp_path / name)
        assert np.abs(read_image(tmp_path / name, READING)[:, 4, 4].astype(int) - [200, 0, 0]).max() <= 4
    image.convert("L").save(tmp_path / "grey.png")
    assert np.ptp(read_image(tmp_path / "grey.png", READING), axis=0).max() == 0
    image.convert("L").point(lambda value: 255).convert("1").save(tmp_path / "bit.png")
    assert read_image(tmp_path / "bit.png", READING).min() == 255


def test_sixteen_bits_are_divided_by_257_and_transparent_pixels_are_white(tmp_path):
    deep = np.full((8, 8), 257 * 100, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(deep).save(tmp_path / "deep.tiff")
    for name in ("deep.png", "deep.tiff"):
        assert set(read_image(tmp_path / name, READING).ravel().tolist()) == {100}
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    clear.save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png", READING).min() == 255


def test_an_image_is_turned_as_its_camera_says_and_only_the_first_frame_counts(tmp_path):
    half = np.zeros((16, 16, 3), dtype=np.uint8)
    half[:8] = 255  # light above
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(half).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    got = read_image(tmp_path / "turned.jpg", READING)
    assert got[:, 0].mean() < 60 < 200 < got[:, -1].mean()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "moves.gif", READING).min() == 255


def test_an_image_that_is_not_square_is_cut_padded_or_stretched(tmp_path):
    wide = np.zeros((8, 24, 3), dtype=np.uint8)
    wide[:, 8:16] = 255  # light in the middle
    Image.fromarray(wide).save(tmp_path / "wide.png")
    means = {fit: read_image(tmp_path / "wide.png", Reading(8, 8, 3, fit)).mean() for fit in ("crop", "pad", "stretch")}
    assert means["crop"] == 255
    assert means["pad"] < means["stretch"] < 150


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty file"), (b"no image at all", "no image"), (None, "damaged")],
)
def test_a_file_without_pixels_says_why(tmp_path, content, reason):
    path = tmp_path / "bad.jpg"
    picture(0).save(path)
    path.write_bytes(path.read_bytes()[:400] if content is None else content)
    with pytest.raises(UnreadableError, match=reason):
        read_image(path, READING)


def test_a_decompression_bomb_is_left_out(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(UnreadableError, match=r"more than .* pixels"):
        read_image(tmp_path / "bomb.png", READING)


# Layouts


def test_class_folders_with_a_part_held_out_of_each_class(tmp_path, read):
    found = read(classes(tmp_path / "own"))
    assert found.classes == ("cat", "dog")
    assert found.train.labels.bincount().tolist() == found.test.labels.bincount().mul(4).tolist() == [8, 8]
    assert found.shape == (3, 40, 40)
    files = found.files
    assert files.held_out
    assert set(files.train) & set(files.test) == set()
    for paths, split in ((files.train, found.train), (files.test, found.test)):
        for path, pixels, label in zip(paths, split.inputs, split.labels.tolist(), strict=True):
            assert found.classes[label] == path.split("/")[0]
            assert torch.equal(pixels, torch.from_numpy(read_image(tmp_path / "own" / path, found.reading)))
    assert read(tmp_path / "own").files == files


def test_train_and_test_folders_and_images_without_a_label(tmp_path, read):
    root = tmp_path / "own"
    save(root, {f"train/{kind}/{n}.png": 10 * k + n for k, kind in enumerate("ab") for n in range(4)})
    save(root, {f"test/{kind}/{n}.png": 50 + 10 * k + n for k, kind in enumerate("ab") for n in range(2)})
    save(root, {f"unlabelled/deep/{n}.png": 80 + n for n in range(3)} | {"train/alone.png": 90, "alone.png": 91})
    found = read(root)
    assert len(found.test) == 4
    assert found.train.labels.tolist().count(-1) == 5
    assert sorted(found.train.labels[found.train.labels >= 0].tolist()) == [0] * 4 + [1] * 4
    assert not found.files.held_out


def test_imagenets_val_is_the_test_where_there_is_no_other(tmp_path, read):
    def part(name: str, count: int) -> dict[str, int]:
        return {f"{name}/{kind}/{n}.png": number_of(name, kind, n) for kind in "ab" for n in range(count)}

    root = save(tmp_path / "own", part("train", 3) | part("val", 3))
    assert len(read(root).test) == 6
    save(root, part("test", 2))
    found = read(root)
    assert (len(found.train), len(found.test)) == (6, 4)


def number_of(*words: object) -> int:
    return zlib.crc32(repr(words).encode())


def table(path: Path, rows: list[tuple]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_a_table_of_labels_and_the_rest_unlabelled_with_cases_in_one_part(tmp_path, read):
    root = save(tmp_path / "own", {f"deep/{n}.png": n for n in range(40)})
    rows = [("path", "label", "case")] + [(f"deep/{n}.png", "ab"[n // 2 % 2], f"patient {n // 2}") for n in range(30)]
    found = read(root, f"dataset.labels={table(tmp_path / 'labels.csv', rows)}")
    assert found.classes == ("a", "b")
    assert len(found.train) + len(found.test) == 40
    assert found.train.labels.tolist().count(-1) == 10
    patients = {
        part: {int(Path(path).stem) // 2 for path in getattr(found.files, part) if int(Path(path).stem) < 30}
        for part in ("train", "test")
    }
    assert patients["test"]
    assert not patients["test"] & patients["train"]
    assert len(found.cases.unique()) == len(patients["train"]) + 10


def test_a_table_may_say_the_parts(tmp_path, read):
    root = save(tmp_path / "own", {f"{n}.png": n for n in range(12)})
    rows = [("path", "label", "split")] + [(f"{n}.png", "ab"[n % 2], "test" if n < 4 else "train") for n in range(10)]
    found = read(root, f"dataset.labels={table(tmp_path / 'labels.csv', rows)}")
    assert sorted(found.files.test) == ["0.png", "1.png", "2.png", "3.png"]
    assert found.train.labels.tolist().count(-1) == 2


def test_grey_images_have_one_channel_unless_colour_is_asked_for(tmp_path, read):
    root = classes(tmp_path / "own")
    for path in root.rglob("*.png"):
        Image.open(path).convert("L").convert("RGB").save(path)
    assert read(root).shape == (1, 40, 40)
    assert read(root, "dataset.colour=true", "dataset.size=16").shape == (3, 16, 16)


# Files that are left out


def test_damaged_files_and_duplicates_are_left_out_with_a_reason(tmp_path, read):
    root = classes(tmp_path / "own")
    (root / "cat" / "empty.png").touch()
    (root / "cat" / "cut.png").write_bytes((root / "cat" / "cat1.png").read_bytes()[:200])
    (root / "dog" / "second.png").write_bytes((root / "dog" / "dog1.png").read_bytes())
    (root / "dog" / "wrong.png").write_bytes((root / "cat" / "cat2.png").read_bytes())
    (root / "dog" / "nowhere.png").symlink_to(tmp_path / "nothing.png")
    (root / "notes.txt").write_text("not an image")
    found = read(root)
    reasons = dict(found.files.skipped)
    assert set(reasons) == {"cat/empty.png", "cat/cut.png", "dog/second.png", "dog/wrong.png", "dog/nowhere.png"}
    assert reasons["dog/second.png"] == "the same as dog/dog1.png"
    assert reasons["dog/wrong.png"] == "the same as cat/cat2.png, with another label"
    assert len(found.train) + len(found.test) == 20
    with pytest.raises(ConfigError, match=r"dataset\.strict=true: 5 files .* cannot be used, such as"):
        read(root, "dataset.strict=true")


def test_a_training_image_that_is_nearly_a_test_image_is_left_out(tmp_path, read):
    root = save(tmp_path / "own", {f"train/{k}/{n}.png": number_of(k, n) for k in "ab" for n in range(6)})
    save(root, {f"test/{k}/{n}.png": number_of("test", k, n) for k in "ab" for n in range(3)})
    picture(number_of("test", "a", 1), 80).save(root / "train" / "a" / "resaved.jpg", quality=85)
    (root / "train" / "b" / "copy.png").write_bytes((root / "test" / "b" / "2.png").read_bytes())
    reasons = dict(read(root).files.skipped)
    assert reasons == {
        "train/a/resaved.jpg": "nearly the same as test/a/1.png, which is a test image",
        "train/b/copy.png": "the same as test/b/2.png",
    }


def test_digits_are_no_near_duplicates_of_each_other(tmp_path, read):

    digits = load(from_overrides("dataset=mnist5k").dataset).train
    root = tmp_path / "own"
    for part, first in (("train", 0), ("test", 400)):
        for item in range(first, first + 400):
            path = root / part / str(int(digits.labels[item])) / f"{item}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(digits.inputs[item, 0].numpy()).save(path)
    found = read(root)
    assert found.shape == (1, 28, 28)
    assert found.files.skipped == []
    assert found.classes == tuple("0123456789")


def resave(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number, 80).save(path, quality=90)


def test_near_duplicates_stay_in_one_part_with_those_that_are_like_them(tmp_path, read):
    root = tmp_path / "own"
    for number in range(20):
        for copy in range(3):
            resave(root / "ab"[number % 2] / f"{number}-{copy}.jpg", number)
            picture(number, 40 + 8 * copy).save(root / "ab"[number % 2] / f"{number}-{copy}.png")
    found = read(root, "dataset.size=32")
    numbers = {
        part: {int(Path(path).stem.split("-")[0]) for path in getattr(found.files, part)} for part in ("train", "test")
    }
    assert numbers["test"]
    assert not numbers["train"] & numbers["test"]


def test_an_unlabelled_copy_of_a_test_image_is_not_trained_on(tmp_path, read):
    root = classes(tmp_path / "own")
    for k in range(2):
        for n in range(10):
            resave(root / "unlabelled" / f"{100 * k + n}.jpg", 100 * k + n)
    found = read(root, "dataset.size=32")
    tested = {int(re.sub(r"\D", "", Path(path).stem)) + 100 * (path[0] == "d") for path in found.files.test}
    copies = {int(Path(path).stem) for path in found.files.train if path.startswith("unlabelled")}
    assert tested
    assert not tested & copies
    assert {reason for _, reason in found.files.skipped} == {
        "of a case that is held out for the test, or nearly the same as such an image"
    }


def test_a_file_more_moves_few_of_the_test_images(tmp_path, read):
    root = classes(tmp_path / "own", 50)
    before = set(read(root).files.test)
    picture(999).save(root / "cat" / "new.png")
    assert len(before & set(read(root).files.test)) >= len(before) - 1


def test_test_images_without_a_label_are_left_out(tmp_path, read):
    root = save(tmp_path / "own", {f"train/{k}/{n}.png": number_of(k, n) for k in "ab" for n in range(4)})
    save(root, {f"test/{n}.png": number_of("t", n) for n in range(3)})
    with pytest.raises(ConfigError, match=r"or no test image has a label"):
        read(root)
    save(root, {f"test/{k}/{n}.png": number_of("t", k, n) for k in "ab" for n in range(2)})
    found = read(root)
    assert len(found.test) == 4
    assert (found.test.labels >= 0).all()
    assert len(found.files.skipped) == 3


def test_a_class_may_be_called_train(tmp_path, read):
    names = {f"{kind}/{n}.png": number_of(kind, n) for kind in ("bus", "car", "train") for n in range(5)}
    assert read(save(tmp_path / "own", names)).classes == ("bus", "car", "train")


def test_what_could_not_be_read_for_now_is_read_again(tmp_path, read, monkeypatch):
    root = classes(tmp_path / "own")
    original = image_part.read_file

    def refuse(path):
        if path.name == "cat1.png":
            raise PassingError("cannot be read (Permission denied)")
        return original(path)

    monkeypatch.setattr(image_part, "read_file", refuse)
    assert read(root).files.skipped == [("cat/cat1.png", "cannot be read (Permission denied)")]
    monkeypatch.setattr(image_part, "read_file", original)
    found = read(root)
    assert found.files.skipped == []
    assert len(found.train) + len(found.test) == 20


def test_a_link_to_itself_is_passed_and_a_name_that_is_no_text_is_refused(tmp_path, read):
    root = classes(tmp_path / "own")
    (root / "loop").symlink_to(root / "loop")
    (root / "cat" / "circle").symlink_to(root)
    assert len(read(root).train) == 16
    strange = root / os.fsdecode(b"caf\xe9")
    try:
        strange.mkdir()
    except OSError:
        pytest.skip("this file system takes only names that are text")
    picture(77).save(strange / "1.png")
    with pytest.raises(ConfigError, match=r"is not UTF-8; rename it"):
        read(root)


def test_a_table_from_windows_names_the_same_files(tmp_path, read):
    root = save(tmp_path / "own", {f"deep/{n}.png": n for n in range(20)})
    rows = [("path", "label")] + [(f"deep\\{n}.png", "ab"[n % 2]) for n in range(20)]
    assert (read(root, f"dataset.labels={table(tmp_path / 'labels.csv', rows)}").train.labels >= 0).all()


# Mistakes


@pytest.mark.parametrize(
    ("make", "words", "said"),
    [
        (lambda root: None, (), r"dataset\.root=.*own: there is no such folder"),
        (lambda root: root.mkdir(), (), r"holds no images"),
        (lambda root: save(root, {f"only/{n}.png": n for n in range(9)}), (), r"the only class is only"),
        (
            lambda root: save(root, {"train/cat/1.png": 1, "train/dog/2.png": 2, "test/cta/3.png": 3}), (),
            r"class cta is in the test part and not in the training part; is it cat\?",
        ),
        (lambda root: save(root, {"test/a/1.png": 1, "test/b/2.png": 2}), (), r"has test images and none to train on"),
        (lambda root: save(root, {"a/1.png": 1, "b/2.png": 2}), (), r"too few images or cases of each class to hold out any"),
    ],
)  # fmt: skip
def test_a_folder_that_makes_no_data_set_is_refused_with_a_sentence(tmp_path, read, make, words, said):
    make(tmp_path / "own")
    with pytest.raises(ConfigError, match=said):
        read(tmp_path / "own", *words)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [("path", "label"), ("gone.png", "a"), ("0.png", "b")],
            r"names files \(1\) that are not in .*such as gone\.png",
        ),
        ([("path", "label"), ("0.png", "a"), ("0.png", "b")], r"0\.png has two labels, a and b; must have one"),
        ([("file", "label"), ("0.png", "a")], r"must have the columns path and label.*it has file, label"),
        ([("path", "label", "split"), ("0.png", "a", "tset")], r"row 2 has split 'tset'; must be train or test"),
        ([("path", "label")], r"has no rows"),
    ],
)
def test_a_table_that_contradicts_the_folder_is_refused_with_a_sentence(tmp_path, read, rows, said):
    root = save(tmp_path / "own", {f"{n}.png": n for n in range(4)})
    with pytest.raises(ConfigError, match=said):
        read(root, f"dataset.labels={table(tmp_path / 'labels.csv', rows)}")


# The cache


def counted(monkeypatch) -> list[str]:
    """The files that are decoded from now on."""
    found: list[str] = []
    original = image_part.open_image

    def opened(content, suffix, reading):
        found.append(suffix)
        return original(content, suffix, reading)

    monkeypatch.setattr(image_part, "open_image", opened)
    return found


def test_a_changed_folder_decodes_only_what_changed(tmp_path, read, monkeypatch):
    root = classes(tmp_path / "own")
    read(root)
    decoded = counted(monkeypatch)
    first = read(root)
    assert decoded == []
    picture(999).save(root / "cat" / "new.png")
    picture(998).save(root / "dog" / "dog3.png")
    (root / "cat" / "cat4.png").unlink()
    found = read(root)
    assert len(decoded) == 2
    assert len(found.train) + len(found.test) == 20
    for paths, split in ((found.files.train, found.train), (found.files.test, found.test)):
        for path, pixels in zip(paths, split.inputs, strict=True):
            assert torch.equal(pixels, torch.from_numpy(read_image(root / path, found.reading)))
    assert len(first.train) + len(first.test) == 20


def test_an_interrupted_build_goes_on(tmp_path, read, monkeypatch):
    root = classes(tmp_path / "own")
    monkeypatch.setattr(image_part, "AT_ONCE", 4)
    original = image_part.write_part
    written: list[str] = []

    def write(folder, name, *rest):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(name)
        original(folder, name, *rest)

    monkeypatch.setattr(image_part, "write_part", write)
    with pytest.raises(KeyboardInterrupt):
        read(root)
    monkeypatch.setattr(image_part, "write_part", original)
    decoded = counted(monkeypatch)
    assert len(read(root).train) == 16
    assert len(decoded) == 20 - 3 * 4


def test_two_processes_that_build_at_once_end_with_the_same(tmp_path, read):
    root = classes(tmp_path / "own", 200)
    script = (
        "import sys; from ssl_cli.config.compose import from_overrides; from ssl_cli.data.dataset import load; "
        "d = load(from_overrides(*sys.argv[1:]).dataset); print(d.fingerprint(), len(d.train), len(d.test))"
    )
    words = ["dataset=folder", f"dataset.root={root}", f"dataset.cache={tmp_path / 'cache'}", "budget=all"]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    own = read(root)
    assert {out for out, _ in said} == {f"{own.fingerprint()} {len(own.train)} {len(own.test)}\n"}


def test_a_full_disk_is_a_sentence_and_leaves_the_old_cache_whole(tmp_path, read, monkeypatch):
    root = classes(tmp_path / "own")
    before = read(root).fingerprint()

    class Full:
        free = 10

    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda _: Full)
    picture(999).save(root / "cat" / "new.png")
    with pytest.raises(ConfigError, match=r"dataset\.cache=.*1 images take .* GB are free there"):
        read(root)
    (root / "cat" / "new.png").unlink()
    assert read(root).fingerprint() == before


def test_a_damaged_cache_is_made_again(tmp_path, read):
    root = classes(tmp_path / "own")
    before = read(root).fingerprint()
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read(root).fingerprint() == before


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 64), (3, 224), (3, 1024), (3, 10_000)])
def test_a_part_of_the_cache_is_small_whatever_the_images(channels, side):
    at_once = image_part.images_at_once(Reading(side, side, channels), 1_000_000, 2)
    assert 1 <= at_once <= 1024
    assert at_once == 1 or at_once * channels * side * side <= 64 << 20


def test_the_perceptual_hash_is_imagehashs():
    import imagehash

    for number in range(50):
        for image in (picture(number, 33), picture(number).convert("L")):
            assert image_part.perceptual_hash(image) == int(str(imagehash.dhash(image)), 16)


# Several processes


@pytest.fixture
def two_processes(monkeypatch):
    """Decode in two processes, whatever the machine has, and in parts of four files."""
    monkeypatch.setattr(image_cache, "processes_for", lambda count: 2)
    monkeypatch.setattr(image_part, "AT_ONCE", 4)


def test_processes_give_the_same_as_one(tmp_path, read, two_processes, monkeypatch):
    root = classes(tmp_path / "own")
    (root / "cat" / "broken.jpg").write_bytes(b"no image at all")
    decoded = counted(monkeypatch)
    several = read(root)
    assert decoded == []  # here
    monkeypatch.undo()
    one = read(root, f"dataset.cache={tmp_path / 'another'}")
    assert several.fingerprint() == one.fingerprint()
    assert several.files == one.files
    assert several.files.skipped == [("cat/broken.jpg", "no image")]


def fatal(monkeypatch, name: str, unless: Path | None = None) -> None:
    """A file of this name ends the process that decodes it; where `unless` is given, the first time only."""
    monkeypatch.setattr(
        workers,
        "START",
        f"""
import os, signal, sys, json; sys.path[:] = json.loads(sys.argv[1])
from pathlib import Path
from ssl_cli.data.images import part, worker
read_file = part.read_file
def read(path):
    if path.name == {name!r} and not ({str(unless)!r} != "None" and Path({str(unless)!r}).exists()):
        Path({str(unless)!r}).touch() if {str(unless)!r} != "None" else None
        os.kill(os.getpid(), signal.SIGSEGV)
    return read_file(path)
part.read_file = read
worker.main()
""",
    )


def test_a_file_that_ends_its_process_is_named(tmp_path, read, two_processes, monkeypatch):
    root = classes(tmp_path / "own")
    fatal(monkeypatch, "dog4.png")
    with pytest.raises(ConfigError, match=r"dataset\.root=.*: dog/dog4\.png ends the process .*\(SIGSEGV\); repair or"):
        read(root)


def test_a_process_that_ends_once_is_replaced(tmp_path, read, two_processes, monkeypatch):
    root = classes(tmp_path / "own")
    fatal(monkeypatch, "dog4.png", unless=tmp_path / "once")
    found = read(root)
    assert (tmp_path / "once").exists()
    assert len(found.train) + len(found.test) == 20


def test_a_folder_is_read_where_no_process_can_be_started(tmp_path, read, two_processes, monkeypatch):
    root = classes(tmp_path / "own")
    monkeypatch.setattr(workers, "START", "raise SystemExit(1)")
    assert len(read(root).train) == 16


def test_processes_end_with_the_one_that_started_them(tmp_path):
    root = classes(tmp_path / "own", 1)
    os.mkfifo(root / "dog" / "waits.png")  # reading it never ends
    script = (
        "import signal, sys; from ssl_cli.data.images import cache, listing; from ssl_cli.data.images.files import Reading\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background begins without\n"
        "from pathlib import Path; root = Path(sys.argv[1])\n"
        "cache.processes_for = lambda count: 2\n"
        "cache.ImageCache(Path(sys.argv[2]), root, Reading(8, 8, 3)).decoded(listing.list_folder(root, None), print)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(root), str(tmp_path / "cache")], stderr=subprocess.DEVNULL
    )
    try:
        writer = wait_for(lambda: reader_is_there(root / "dog" / "waits.png"))
        started = workers_of(process.pid)
        assert len(started) == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) != 0
        assert wait_for(lambda: not any(Path(f"/proc/{number}").exists() for number in started))
    finally:
        process.kill()
        process.wait()
    os.close(writer)
    assert not list((tmp_path / "cache").rglob(".making-*"))


def reader_is_there(pipe: Path) -> int | None:
    """A writer to a named pipe, once a process reads it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def workers_of(number: int) -> list[int]:
    """The processes that a process has started."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], check=True, capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if line.split()[1] == str(number)]


def wait_for(is_so, seconds: float = 30.0):
    """What `is_so` gives once it is true; fails after some seconds."""
    began = time.monotonic()
    while not (found := is_so()):
        assert time.monotonic() - began < seconds
        time.sleep(0.05)
    return found


# The run


def test_a_run_lists_what_was_left_out_and_what_is_for_the_test(tmp_path, smoke):
    from ssl_cli.stages.finetune import finetune

    root = classes(tmp_path / "own")
    (root / "cat" / "empty.png").touch()
    config, run = smoke(
        "stage=baseline", "dataset=folder", f"dataset.root={root}", f"dataset.cache={tmp_path / 'cache'}", "augment=natural",
        "backbone=small", "budget=all", "dataset.size=16",
    )  # fmt: skip
    finetune(config, run)
    assert list(csv.reader((run.folder / "skipped.csv").read_text().splitlines())) == [
        ["path", "reason"],
        ["cat/empty.png", "empty file"],
    ]
    split = list(csv.DictReader((run.folder / "split.csv").read_text().splitlines()))
    assert {row["split"] for row in split} == {"train", "test"}
    assert all(row["path"].startswith(row["label"]) for row in split)
    labels = list(csv.DictReader((run.folder / "labels.csv").read_text().splitlines()))
    assert {row["path"] for row in labels} == {row["path"] for row in split if row["split"] == "train"}
    assert json.loads((run.folder / "result.json").read_text())["test_accuracy"] is not None


def test_names_that_are_no_text_are_listed_with_escapes(tmp_path, smoke):
    from ssl_cli.stages.finetune import finetune

    root = classes(tmp_path / "own")
    try:
        (root / "cat" / os.fsdecode(b"\xff odd.png")).touch()
    except OSError:
        pytest.skip("this file system takes only names that are text")
    config, run = smoke(
        "stage=baseline", "dataset=folder", f"dataset.root={root}", f"dataset.cache={tmp_path / 'cache'}", "augment=natural",
        "backbone=small", "budget=all", "dataset.size=16",
    )  # fmt: skip
    finetune(config, run)
    assert "odd.png,empty file" in (run.folder / "skipped.csv").read_text()


def test_heic_is_read_with_its_extra(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="HEIC is an extra: pip install pillow-heif")
    pillow_heif.register_heif_opener()
    picture(3).save(tmp_path / "photo.heic", quality=95)
    shown = read_image(tmp_path / "photo.heic", Reading(40, 40, 3))
    wanted = np.asarray(picture(3)).transpose(2, 0, 1)
    assert np.abs(shown.astype(int) - wanted).mean() < 8
