"""Caches of several files: the same inputs as from one, made without holding them twice, and gone on with."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_folder import classes, counted, picture

from ssl_cli.config.compose import from_overrides
from ssl_cli.data import shards
from ssl_cli.data.dataset import _load_once, load
from ssl_cli.data.images import cache as image_cache
from ssl_cli.data.images import part as image_part
from ssl_cli.data.images.arrays import arrays
from ssl_cli.data.images.files import read_image
from ssl_cli.data.images.joining import parts_to_join
from ssl_cli.data.images.part import Decoded
from ssl_cli.data.shards import Shards
from ssl_cli.data.text import store
from ssl_cli.data.types import Dataset
from ssl_cli.data.workplace import workplace
from ssl_cli.errors import ConfigError

IMAGE = 3 * 40 * 40  # bytes
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def read(kind: str, root: Path, cache: Path) -> Dataset:
    _load_once.cache_clear()
    return load(
        from_overrides(f"dataset={kind}", f"dataset.root={root}", f"dataset.cache={cache}", "budget=all").dataset
    )


@pytest.fixture
def small(monkeypatch):
    """Five images a file, decoded two at a time; a hundred bytes of tokens, of two texts at a time."""
    monkeypatch.setattr(image_part, "AT_ONCE", 2)
    monkeypatch.setattr(store, "ENCODED_AT_ONCE", 2)

    def lower(kind: str) -> None:
        monkeypatch.setattr(shards, "BYTES", {"folder": 5 * IMAGE, "texts": 100}[kind])

    return lower


def table(path: Path) -> Path:
    rows = [{"text": f"text {WORDS[n % 10]} of {n * n} {WORDS[n // 10]}", "label": "ab"[n % 2]} for n in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def made(kind: str, folder: Path) -> Path:
    return classes(folder / "own") if kind == "folder" else table(folder / "own.jsonl")


def parts(cache: Path) -> dict[str, tuple[int, int]]:
    """The files of pixels or tokens: their inode and their size."""
    found = [*cache.rglob("part-*.npy"), *cache.rglob("whole-*.npy"), *cache.rglob("tokens*.bin")]
    return {path.name: (path.stat().st_ino, path.stat().st_size) for path in found}


def are_those_of(data: Dataset, root: Path) -> bool:
    return all(
        torch.equal(pixels, torch.from_numpy(read_image(root / path, data.reading)))
        for paths, split in ((data.files.train, data.train), (data.files.test, data.test))
        for path, pixels in zip(paths, split.inputs, strict=True)
    )


def test_rows_of_several_tensors_are_those_of_one(monkeypatch):
    whole = torch.arange(60).view(20, 3).int()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    read = []
    for pieces in ([20], [7, 0, 12, 1], [1] * 20):
        for rows in (None, order):
            asked = Shards(whole.split(pieces), rows, read.append)
            there = whole if rows is None else whole[rows]
            assert (len(asked), asked.shape, asked.dtype, asked.nbytes) == (20, there.shape, torch.int32, 240)
            for which in (
                torch.tensor([3, 19, 3, 0]),
                there[:, 0] > 30,
                torch.tensor([]).long(),
                slice(2, 9),
                slice(None),
            ):
                assert torch.equal(asked[which], there[which])
            assert [each.tolist() for each in asked] == there.tolist()
            assert torch.equal(asked[-1], there[-1])
            assert torch.equal(asked.some(slice(4, 18)).some(slice(1, None))[:], there[5:18])
            assert [len(each) for each in asked.split(8)] == [8, 8, 4]
            with pytest.raises(IndexError):
                asked[torch.tensor([20])]
    assert read


@pytest.mark.parametrize("kind", ["folder", "texts"])
def test_a_cache_of_many_files_has_the_inputs_of_one(kind, tmp_path, small):
    root = made(kind, tmp_path)
    one = read(kind, root, tmp_path / "one")
    small(kind)
    many = read(kind, root, tmp_path / "many")
    assert len(parts(tmp_path / "one")) == 1
    assert len(parts(tmp_path / "many")) >= 4
    assert all(size <= 5 * IMAGE + 128 for _, size in parts(tmp_path / "many").values())
    assert many.content == one.content
    assert kind == "texts" or are_those_of(many, root)
    picked = torch.tensor([5, 0, 11, 5])
    ours, theirs = (
        data.train.inputs[picked] if kind == "folder" else data.train.inputs[picked].read() for data in (many, one)
    )
    assert torch.equal(ours, theirs)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_shards
from ssl_cli.data import shards
from ssl_cli.data.images import part
from ssl_cli.data.text import store
kind, root, cache, shards.BYTES = sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])
part.AT_ONCE = store.ENCODED_AT_ONCE = 2
made = 0
def one():
    global made
    made += 1
    if made == 12:
        os.kill(os.getpid(), signal.SIGKILL)
def decode(path, reading, real=part._decode):
    one()
    return real(path, reading)
def encode(tokenizer, pieces, real=store.encoded):
    for ids in real(tokenizer, pieces):
        one()
        yield ids
part._decode, store.encoded = decode, encode
test_shards.read(kind, root, cache)
"""


@pytest.mark.parametrize("kind", ["folder", "texts"])
def test_a_killed_command_is_gone_on_with_where_it_was(kind, tmp_path, small, monkeypatch):
    root = made(kind, tmp_path)
    one = read(kind, root, tmp_path / "one")
    small(kind)
    words = [kind, str(root), str(tmp_path / "many"), str(shards.BYTES)]
    ended = subprocess.run([sys.executable, "-c", KILLED, str(Path(__file__).parent), *words], timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    there = parts(tmp_path / "many")
    assert there
    done: list[object] = []
    for module, name in ((image_part, "_decode"), (store, "token_ids")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, real=real: (done.append(given), real(*given))[1])
    many = read(kind, root, tmp_path / "many")
    assert many.content == one.content
    left = 20 - 10 if kind == "folder" else (40 - 2 * len(there)) / 2  # of texts, two at a time
    assert 0 < len(done) <= left
    assert not list((tmp_path / "many").rglob(".making-*"))
    assert not list((tmp_path / "many").rglob("lengths-*"))


def test_a_changed_image_costs_one_file_and_the_others_stay(tmp_path, small, monkeypatch):
    root = made("folder", tmp_path)
    small("folder")
    read("folder", root, tmp_path / "cache")
    before = parts(tmp_path / "cache")
    decoded = counted(monkeypatch)
    picture(999).save(root / "dog" / "dog3.png")
    changed = read("folder", root, tmp_path / "cache")
    assert len(decoded) == 1
    assert are_those_of(changed, root)
    after = parts(tmp_path / "cache")
    kept = before.items() & after.items()
    assert len(kept) >= len(before) - 1


def test_after_many_changes_files_are_few_and_hold_little_that_nobody_needs(tmp_path, small, monkeypatch):
    root = made("folder", tmp_path)
    small("folder")
    for number in range(8):
        picture(1000 + number).save(root / "dog" / f"dog{number % 10}.png")
        if number == 4:
            for gone in range(8):
                (root / "cat" / f"cat{gone}.png").unlink()
        data = read("folder", root, tmp_path / "cache")
        assert are_those_of(data, root)
        rows = sum(size // IMAGE for _, size in parts(tmp_path / "cache").values())
        needed = len(data.train) + len(data.test)
        assert rows <= 2 * needed
        assert len(parts(tmp_path / "cache")) <= -(-rows // 2) + 1
    decoded = counted(monkeypatch)
    read("folder", root, tmp_path / "cache")
    assert decoded == []


def test_which_parts_are_joined():
    def found(**rows: int) -> list[Decoded]:
        return [Decoded("", 0, None, part, row) for part, count in rows.items() for row in range(count)]

    for needed, rows, joined in (
        ({"a": 10, "b": 4}, {}, set()),  # one small part has none to join
        ({"a": 10, "b": 4, "c": 1}, {}, {"b", "c"}),
        ({"a": 4}, {"a": 10}, {"a"}),  # most of it is not needed
        ({"a": 5, "b": 10}, {"a": 10}, set()),
        ({"a": 4, "b": 4, "c": 4}, {}, {"a", "b"}),  # as many as one part can be
    ):
        assert parts_to_join(found(**needed), {**needed, **rows}, 10) == joined
    unread = [Decoded("", 0, "no image", name, None) for name in "ab"]
    assert parts_to_join(unread, {"a": 0, "b": 0}, 10) == {"a", "b"}


@pytest.mark.parametrize("begun", [False, True])
def test_while_it_is_made_a_cache_takes_one_file_more_at_most(tmp_path, small, monkeypatch, begun):
    root = made("folder", tmp_path)
    small("folder")
    if begun:
        read("folder", root, tmp_path / "cache")
        classes(root / "more", 10)
    sizes: list[int] = []

    def measured(*given, real=image_part.write_part):
        real(*given)
        sizes.append(sum(size for _, size in parts(tmp_path / "cache").values()))

    for module in (image_part, image_cache):
        monkeypatch.setattr(module, "write_part", measured)
    read("folder", root, tmp_path / "cache")
    there = sum(size for _, size in parts(tmp_path / "cache").values())
    assert there < max(sizes) <= there + 5 * IMAGE + 20 * 128


def test_a_disk_that_is_full_leaves_the_old_data_set(tmp_path, small, monkeypatch):
    root = made("folder", tmp_path)
    picture(998).save(root / "cat" / "one_more.png")  # in a small part of its own
    small("folder")
    before = read("folder", root, tmp_path / "cache").content
    (named,) = (tmp_path / "cache").rglob("set-*.json")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    picture(999).save(root / "cat" / "new.png")
    for module, name in ((image_part, "write_part"), (image_cache.ImageCache, "_write_set")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, full)
            with pytest.raises(ConfigError, match=r"dataset\.cache=.*: cannot be written \(the disk is full; "):
                read("folder", root, tmp_path / "cache")
        assert {f"{part}.npy" for part in json.loads(named.read_text())["parts"]} <= set(parts(tmp_path / "cache"))
    (root / "cat" / "new.png").unlink()
    decoded = counted(monkeypatch)
    assert read("folder", root, tmp_path / "cache").content == before
    assert decoded == []
    picture(999).save(root / "cat" / "new.png")
    monkeypatch.setattr(image_cache, "write_part", full)  # small parts stay small
    assert are_those_of(read("folder", root, tmp_path / "cache"), root)


def test_a_cache_of_one_file_by_an_earlier_version_is_not_decoded_again(tmp_path, monkeypatch):
    root = made("folder", tmp_path)
    before = read("folder", root, tmp_path / "cache").content
    (pixels,) = (tmp_path / "cache").rglob("part-*.npy")
    (named,) = (tmp_path / "cache").rglob("set-*.json")
    about = json.loads(pixels.with_suffix(".json").read_text())
    pixels.with_name("whole-1.json").write_text(json.dumps({**about, "notes": json.loads(named.read_text())["notes"]}))
    pixels.rename(pixels.with_name("whole-1.npy"))
    pixels.with_suffix(".json").unlink()
    named.unlink()
    decoded = counted(monkeypatch)
    assert read("folder", root, tmp_path / "cache").content == before
    assert decoded == []
    assert list(parts(tmp_path / "cache")) == ["whole-1.npy"]


def test_tokens_of_an_earlier_version_are_still_read(tmp_path):
    root = made("texts", tmp_path)
    before = read("texts", root, tmp_path / "cache").content
    (tokens,) = (tmp_path / "cache").rglob("tokens-*.bin")
    tokens.rename(tokens.with_name("tokens.bin"))
    about = json.loads((tokens.parent / "about.json").read_text())
    del about["files"]
    (tokens.parent / "about.json").write_text(json.dumps(about))
    assert read("texts", root, tmp_path / "cache").content == before


def test_no_token_is_read_at_the_start_and_a_damaged_one_is_told_when_it_is(tmp_path, small, monkeypatch):
    root = made("texts", tmp_path)
    small("texts")
    read("texts", root, tmp_path / "cache")
    asked: list[int] = []
    real = Shards.__getitem__

    def counting(self, which):
        asked.append(1)
        return real(self, which)

    monkeypatch.setattr(Shards, "__getitem__", counting)
    last = max((tmp_path / "cache").rglob("tokens-*.bin"))
    np.full(last.stat().st_size // 4, 1_000_000, dtype=np.int32).tofile(last)
    data = read("texts", root, tmp_path / "cache")
    assert asked == []
    with pytest.raises(ConfigError, match=r": is damaged; remove this folder, and the texts are tokenised anew"):
        _ = data.content
    last.unlink()
    with pytest.raises(ConfigError, match=r": is damaged; remove this folder"):
        read("texts", root, tmp_path / "cache")


WORKS = """
import sys, time
from pathlib import Path
from ssl_cli.data.workplace import workplace
with workplace(Path(sys.argv[1])) as place:
    (place.work / "half").touch()
    print(place.work, flush=True)
    sys.stdin.readline()
"""


def test_files_of_another_maker_stay_until_it_is_gone(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", WORKS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        new, old = tmp_path / ".making-new", tmp_path / ".making-old"  # without a lock
        new.mkdir()
        old.touch()
        os.utime(old, (0, 0))
        with workplace(tmp_path) as place:
            assert {path.name for path in tmp_path.iterdir()} == {theirs.name, place.work.name, new.name}
        assert (theirs / "half").exists()
        other.kill()
        other.wait()
        with workplace(tmp_path):
            assert not theirs.exists()
    finally:
        other.kill()
        other.communicate()
    new.rmdir()
    assert list(tmp_path.iterdir()) == []


def test_more_than_memory_holds_is_mapped(tmp_path):
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + 1
    count = 2 * memory >> 20  # images of a mebibyte
    for part, many in (("train", count), ("test", 2)):
        with (tmp_path / f"{part}_inputs.npy").open("wb") as file:
            about = {"descr": "|u1", "fortran_order": False, "shape": (many, 1024, 1024)}
            np.lib.format.write_array_header_1_0(file, about)
            file.truncate(file.tell() + (many << 20))  # which takes no room
        np.save(tmp_path / f"{part}_labels.npy", np.arange(many) % 2)
    facts = from_overrides("dataset=arrays").dataset.arguments["facts"]
    inputs = arrays(tmp_path, facts).train.inputs
    assert inputs.nbytes > memory
    assert int(inputs[torch.tensor([0, count - 1])].sum()) == 0
    with (tmp_path / "one.bin").open("wb") as file:
        file.truncate(256 << 20)
    one = [shards.mapped(tmp_path / "one.bin", torch.uint8, 256 << 20).view(256, -1) for _ in range(count // 256 + 1)]
    cache = Shards(one)
    assert cache.nbytes > memory
    assert int(cache[torch.tensor([0, len(cache) - 1])].sum()) == 0
