import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.batches import Batches
from ssl_cli.data.dataset import load
from ssl_cli.data.types import UNKNOWN
from ssl_cli.errors import ConfigError


def dataset(*overrides: str):
    return load(from_overrides(*overrides).dataset)


def test_the_default_digits_are_real_split_by_class_and_always_the_same():
    data = dataset()
    assert data.train.inputs.shape == (4000, 1, 28, 28)
    assert data.train.inputs.dtype == torch.uint8
    assert torch.bincount(data.train.labels).tolist() == [400] * 10
    assert torch.bincount(data.test.labels).tolist() == [100] * 10
    assert data.fingerprint() == "6ddf47257943c6a7"
    train, test = ({bytes(image.numpy().tobytes()) for image in s.inputs} for s in (data.train, data.test))
    assert len(train & test) <= 1


def write_mnist(root: Path, train: int, test: int) -> None:
    """Files of the kind that torchvision reads, without its check of their sums."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in (("train", train), ("t10k", test)):
        pixels = bytes(range(256)) * (count * 28 * 28 // 256 + 1)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + pixels[: count * 784])
        labels = bytes(item % 10 for item in range(count))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels)


def test_torchvisions_files_are_read_from_the_root(tmp_path):
    write_mnist(tmp_path, 30, 20)
    data = dataset(
        "dataset=mnist", f"dataset.root={tmp_path}", "dataset.download=false", "budget.labels=20",
        "dataset.facts.inputs=30", "dataset.facts.test=20", "schedule=smoke",
    )  # fmt: skip
    assert data.train.inputs.shape == (30, 1, 28, 28)
    assert data.test.labels.tolist() == [item % 10 for item in range(20)]


@pytest.mark.parametrize("packed", [True, False])
def test_a_distributions_own_folder_of_the_same_files_is_read_too(tmp_path, packed):
    write_mnist(tmp_path, 30, 20)
    for file in (tmp_path / "MNIST" / "raw").iterdir():
        if packed:
            (tmp_path / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        else:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    facts = ("schedule=smoke", "budget.labels=20", "dataset.facts.inputs=30", "dataset.facts.test=20")
    here = dataset("dataset=fashion_mnist", f"dataset.root={tmp_path}", *facts)
    there = dataset("dataset=mnist", f"dataset.root={tmp_path}", *facts)
    assert torch.equal(here.train.inputs, there.train.inputs)
    assert torch.equal(here.test.labels, there.test.labels)
    assert here.classes[9] == "Ankle boot"


@pytest.mark.parametrize("damage", [lambda content: content[:-5], lambda content: b"<html>no such page</html>"])
def test_damaged_files_are_refused(tmp_path, damage):
    write_mnist(tmp_path, 30, 20)
    for file in (tmp_path / "MNIST" / "raw").iterdir():
        (tmp_path / file.name).write_bytes(
            damage(file.read_bytes()) if "t10k-images" in file.name else file.read_bytes()
        )
    with pytest.raises(ConfigError, match="t10k-images-idx3-ubyte is no IDX file of bytes, or is cut off"):
        dataset("dataset=fashion_mnist", f"dataset.root={tmp_path}")


def test_data_that_is_not_what_the_settings_say_is_refused(tmp_path):
    write_mnist(tmp_path, 30, 20)
    with pytest.raises(ConfigError, match=r"dataset\.facts\.inputs=60000: dataset=mnist as read has 30"):
        dataset("dataset=mnist", f"dataset.root={tmp_path}", "dataset.download=false")


@pytest.mark.parametrize("download", ["true", "false"])
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "train-images-idx3-ubyte"),
        ("fashion_mnist", "train-images-idx3-ubyte"),
        ("kmnist", "t10k-labels-idx1-ubyte"),
        ("cifar10", "data_batch_1"),
        ("cifar100", "train"),
        ("svhn", "train_32x32.mat"),
        ("stl10", "unlabeled_X.bin"),
    ],
)
def test_missing_files_are_named_with_their_place_and_a_way_out(tmp_path, monkeypatch, name, file, download):
    # No host to fetch from: what a machine without a network sees, at once and on every machine.
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    augment = "digits" if "mnist" in name else "natural"
    with pytest.raises(ConfigError) as caught:
        dataset(f"dataset={name}", f"augment={augment}", f"dataset.root={tmp_path}/d", f"dataset.download={download}")
    (sentence,) = caught.value.problems
    assert file in sentence
    assert str(tmp_path / "d") in sentence
    assert "dataset=mnist5k" in sentence
    assert ("the download failed" in sentence) == (download == "true")
    assert not (tmp_path / "d").exists()


def test_unlabelled_inputs_are_marked():
    data = dataset("dataset=synthetic", "dataset.facts.unlabelled=50", "budget.labels=20")
    assert len(data.train) == 306
    assert int((data.train.labels == UNKNOWN).sum()) == 50


def batches(order: str, count: int = 10, **options) -> Batches:
    inputs = torch.arange(count, dtype=torch.uint8)[:, None, None, None]
    return Batches(
        inputs, None, options.pop("items", None), options.pop("size", 3), order, options.pop("seed", 0), **options
    )


def seen(source: Batches, steps: range) -> list[int]:
    return [int(value) for step in steps for value in source.at(step).inputs.flatten()]


def test_batches_in_file_order_are_full_and_repeat():
    source = batches("file")
    assert seen(source, range(4)) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2]


def test_only_some_steps_of_an_epoch_see_only_their_items():
    assert seen(batches("file", steps_per_epoch=2), range(4)) == [0, 1, 2, 3, 4, 5] * 2


def test_a_batch_is_a_function_of_the_step():
    forwards = [seen(batches("shuffle"), range(step, step + 1)) for step in range(9)]
    source = batches("shuffle")
    backwards = [seen(source, range(step, step + 1)) for step in reversed(range(9))]
    assert forwards == backwards[::-1]
    assert forwards[:3] != forwards[3:6]


def test_an_epoch_never_shows_an_item_twice():
    epoch = seen(batches("shuffle"), range(3))
    assert len(set(epoch)) == 9


def test_fewer_items_than_a_batch_make_one_small_batch():
    source = batches("shuffle", items=torch.tensor([4, 7]))
    assert sorted(seen(source, range(1))) == [4, 7]
    assert source.steps_per_epoch == 1


def test_no_labels_leave_the_batch_where_none_are_given():
    assert batches("file").at(0).labels is None


def write_arrays(root: Path, **files) -> None:
    root.mkdir(exist_ok=True)
    colour = np.arange(30 * 8 * 8 * 3, dtype=np.uint64).astype(np.uint8).reshape(30, 8, 8, 3)
    contents = {
        "train_inputs": colour, "test_inputs": colour[:10], "train_labels": np.arange(30) % 3 - 1,
        "test_labels": np.arange(10) % 2, **files,
    }  # fmt: skip
    for name, array in contents.items():
        np.save(root / f"{name}.npy", array)


def test_your_own_arrays_are_mapped_channels_second_with_what_is_known_of_them(tmp_path):
    write_arrays(tmp_path)
    data = dataset("dataset=arrays", f"dataset.root={tmp_path}", "budget.labels=10", "augment=none")
    written = np.load(tmp_path / "train_inputs.npy")
    assert data.shape == (3, 8, 8)
    assert data.train.inputs[7, 2, 3, 4] == written[7, 3, 4, 2]
    assert (data.train.labels == UNKNOWN).sum() == 10
    assert data.classes == ("0", "1")
    with Path("/proc/self/maps").open() as maps:
        assert any(str(tmp_path / "train_inputs.npy") in line for line in maps)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"train_inputs": np.zeros((30, 8, 8))},
            "train_inputs.npy holds float64; it must be uint8 of shape (N, H, W), (N, H, W, 3) or (N, C, H, W), so save (255 *",
        ),
        (
            {"train_inputs": np.zeros((30, 8), np.uint8)},
            "train_inputs.npy holds uint8 of shape (30, 8); it must be uint8",
        ),
        ({"train_inputs": np.zeros((30, 8, 8, 4), np.uint8)}, "four channels (RGBA); save images[..., :3]"),
        (
            {"train_inputs": np.array([np.zeros(1), np.zeros(2)], object)},
            "holds Python objects, as where images differ in size",
        ),
        (
            {"train_labels": np.arange(30) % 2 + 1, "test_labels": np.arange(10) % 2 + 1},
            "labels begin at 1, and classes are counted from 0; subtract it from both files",
        ),
        ({"train_labels": np.zeros(29, int)}, "train_labels.npy holds int64 of shape (29,); it must be 30 integers"),
        ({"test_labels": np.zeros(10)}, "test_labels.npy holds float64 of shape (10,); it must be 10 integers"),
    ],
)
def test_arrays_that_cannot_be_data_are_refused(tmp_path, files, sentence):
    write_arrays(tmp_path, **files)
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        dataset("dataset=arrays", f"dataset.root={tmp_path}", "augment=none")
