"""Files that are cut short, garbled or a stranger's: each command says so in a sentence, or does its work."""

import copy
import json
import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from finished_runs import CLASSES, pictures, sentences
from PIL import Image
from typed_commands import Commands, Typed, commands

DAMAGES = int(os.environ.get("SSL_CLI_DAMAGES", "250"))  # of the slow test
QUICK = (
    "schedule=smoke", "runtime.threads=1", "runtime.precision=float32", "runtime.compile=false", "runtime.checkpoint_seconds=0",
)  # fmt: skip
IMAGES = (
    "dataset=folder", "dataset.root=pics", "dataset.size=12", "dataset.colour=false", "dataset.cache=cache", "augment=digits",
    "backbone=small", "backbone.width=4", *QUICK,
)  # fmt: skip
TEXTS = (
    "dataset=texts", "dataset.root=a.tsv", "dataset.cache=cache", "dataset.tokenizer.vocabulary=300", "augment=text",
    "backbone=bag", "budget.labels=60", *QUICK,
)  # fmt: skip
ARRAYS = ("dataset=arrays", "dataset.root=arr", "augment=digits", "backbone=small", "backbone.width=4", *QUICK)
LONGER = ("schedule.pretrain.epochs=6", "schedule.pretrain.max_steps=6")
NEW = "hydra.run.dir=new"

# What is done with each thing that may be damaged.
USES: dict[str, list[tuple[str, ...]]] = {
    "half": [("resume=half",), ("status", "."), ("list", "."), ("diff", "half", "pre"), ("prune", ".")],
    "auto": [("resume=auto",), ("status", "auto")],
    "pre": [
        ("finetune", "checkpoint=pre", "budget.labels=20", *IMAGES, NEW),
        ("pretrain", "init_from=pre", *IMAGES, NEW),
        ("finetune", "budget.labels=21", *IMAGES, NEW),
        ("pretrain", *IMAGES, "hydra.run.dir=pre"),
        ("embed", "stage.run=pre", "stage.inputs=pics/test", NEW),
        ("resume=auto",),
    ],
    "tuned": [
        ("evaluate", "stage.run=tuned", NEW),
        ("predict", "stage.run=tuned", "stage.inputs=pics/test", NEW),
        ("resume=tuned",),
        ("diff", "pre", "tuned"),
        ("export", "stage.run=tuned", NEW),
        ("distill", "stage.teacher=tuned", *IMAGES, "budget.labels=30", NEW),
    ],
    "txt": [
        ("predict", "stage.run=txt", "stage.inputs=a.tsv", NEW),
        ("resume=txt",),
        ("embed", "stage.run=txt", "stage.inputs=a.tsv", NEW),
    ],
    "cache/images": [("finetune", "checkpoint=pre", "budget.labels=20", *IMAGES, NEW)],
    "cache/texts": [("baseline", *TEXTS, NEW)],
    "arr": [("baseline", "budget.labels=20", *ARRAYS, NEW)],
    "labels.csv": [("baseline", "budget=listed", "budget.file=labels.csv", *IMAGES, NEW)],
    "a.tsv": [("baseline", *TEXTS, NEW)],
    "pics": [("baseline", "budget.labels=20", *IMAGES, NEW)],
}
EVIL = "x\x1b]0;evil\x07\x1b[31m"
VALUES: list[Any] = [None, "", EVIL, -1, 0, 10**7, 10**30, 1e308, float("nan"), [], {}, [1, "a"], True, "/nowhere"]
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)
NUMPY_HEADERS = (
    "{'descr':'|u1','fortran_order':False,'shape':(99999999999,99999,9999)}",
    "{'descr':'|O','fortran_order':False,'shape':(3,)}",
    "{'descr':'|u1','fortran_order':False,'shape':(-1,2)}",
    "{'descr':'<U9999999','fortran_order':False,'shape':(60,)}",
)


class World:
    """A folder of finished and interrupted runs, their data and caches, which is whole again before each command."""

    def __init__(self, folder: Path, typed: Commands):
        self.folder, self._whole, self._typed = folder / "world", folder / "whole", typed
        self.folder.mkdir()
        (self.folder / "arr").mkdir()
        for part, count, seed in (("train", 60, 0), ("test", 15, 1)):
            images, labels = pictures(count, seed)
            np.save(self.folder / "arr" / f"{part}_inputs.npy", images)
            np.save(self.folder / "arr" / f"{part}_labels.npy", labels)
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                path = self.folder / "pics" / part / CLASSES[label] / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
        rows = [f"train/{CLASSES[n % 3]}/{n:03d}.png,{CLASSES[n % 3]}" for n in range(12)]
        (self.folder / "labels.csv").write_text("\n".join(["path,label", *rows]) + "\n")
        (self.folder / "a.tsv").write_text(
            "\n".join(["text\tlabel", *(f"{t}\t{c}" for t, c in sentences(120, 0))]) + "\n"
        )
        self._made("pretrain", *IMAGES, "hydra.run.dir=pre")
        self._made("pretrain", *IMAGES, *LONGER, "seed=1", "hydra.run.dir=half", stop_after=4)
        self._made("finetune", "checkpoint=pre", "budget.labels=30", *IMAGES, "hydra.run.dir=tuned")
        longer = ("schedule.supervised.epochs=6", "schedule.supervised.max_steps=6")
        self._made("finetune", "budget.labels=20", *IMAGES, *longer, "hydra.run.dir=auto", stop_after=4)
        self._made("baseline", *TEXTS, "hydra.run.dir=txt")
        shutil.copytree(self.folder, self._whole)

    def _made(self, *words: str, **faults: Any) -> None:
        code, said = self._typed(self.folder, *words, limit=240, **faults)
        assert code == (130 if faults else 0), said

    def type(self, *words: str, **faults: Any) -> Typed:
        return self._typed(self.folder, *words, limit=240, **faults)

    def restore(self) -> Path:
        shutil.rmtree(self.folder)
        shutil.copytree(self._whole, self.folder)
        return self.folder


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    with commands() as typed:
        yield World(tmp_path_factory.mktemp("damaged"), typed)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for key in range(min(len(value), 3)):
            yield from places(value[key], (*path, key))


def with_another_value(value: Any, source: random.Random) -> tuple[Any, str]:
    """A value in which one inside it is another, or gone."""
    changed, found = copy.deepcopy(value), list(places(value))
    if not found:
        return source.choice(VALUES), "all"
    path, other = source.choice(found), source.choice([*VALUES, "gone"])
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    if other == "gone":
        del inner[path[-1]]
    else:
        inner[path[-1]] = other
    return changed, f"{'.'.join(map(str, path))}={other!r}"


def damage(path: Path, source: random.Random) -> str:
    """Damage a file in one of many ways; which one."""
    whole, suffix = path.read_bytes(), path.suffix
    kinds = ["cut", "flip", "garbage", "empty", "gone", "folder"]
    kinds += ["other", "deep", "binary"] * (suffix in (".json", ".yaml", ".jsonl", ".csv", ".tsv"))
    kinds += ["value"] * 8 * (suffix in (".json", ".yaml")) + ["bomb"] * (suffix == ".yaml")
    kinds += ["header"] * 3 * (suffix in (".npy", ".safetensors"))
    kind, at = source.choice(kinds), source.randrange(len(whole) or 1)
    said = f"{kind} {at}"
    if kind == "cut":
        path.write_bytes(whole[:at])
    elif kind == "flip" and whole:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << source.randrange(8)]) + whole[at + 1 :])
    elif kind == "garbage":
        path.write_bytes(whole[:at] + source.randbytes(64) + whole[at + 64 :])
    elif kind in ("empty", "flip"):
        path.write_bytes(b"")
    elif kind in ("gone", "folder"):
        path.unlink()
        if kind == "folder":
            path.mkdir()
    elif kind == "other":
        path.write_text(said := source.choice(["[]", "3", "null", "{}", '"x"', "true"]))
    elif kind == "deep":
        path.write_text("[" * 100_000)
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe\x00" + whole)
    elif kind == "bomb":
        path.write_text(BOMB)
    elif kind == "value":
        read, write = (json.loads, json.dumps) if suffix == ".json" else (yaml.safe_load, yaml.safe_dump)
        value, said = with_another_value(read(whole), source)
        path.write_text(write(value))
    elif suffix == ".npy":
        said = source.choice(NUMPY_HEADERS)
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(said).to_bytes(2, "little") + said.encode() + whole[128:])
    else:
        length = source.choice([0, 8, 2**40, 2**63, 100])
        path.write_bytes(length.to_bytes(8, "little") + whole[8:])
        said = f"header of {length}"
    return said


def wrong(ended: Typed, folder: Path) -> str | None:
    """What is wrong with how a command ended; None where it did its work or refused it in a sentence."""
    code, said = ended
    if code not in (0, 1, 2):
        return f"exit code {code}"
    if "Traceback" in said:
        return "a traceback"
    if "\x1b" in said.replace("\x1b[A", ""):  # what a progress bar writes
        return "the terminal is steered"
    if code and not any(line.startswith("ssl-cli: ") for line in said.splitlines()):
        return "no sentence"
    if code == 2 and (folder / "new").exists():
        return "a folder is left"
    return None


def files_of(top: Path) -> list[Path]:
    """The files of something that are read by somebody; pictures of a run are looked at only."""
    if top.is_file():
        return [top]
    pictures_count = top.name == "pics"
    unread = (".html", ".log") if pictures_count else (".html", ".log", ".png")
    return sorted(path for path in top.rglob("*") if path.is_file() and path.suffix not in unread)


def sampled(world: World, count: int, seed: int) -> tuple[Counter[int | None], list[str]]:
    """How many of so many commands on damaged files ended with which exit code, and what went wrong."""
    source, codes, problems = random.Random(seed), Counter[int | None](), list[str]()
    for _ in range(count):
        folder = world.restore()
        place = source.choice(list(USES))
        words = source.choice(USES[place])
        path = source.choice(files_of(folder / place))
        how = damage(path, source)
        ended = world.type(*words)
        codes[ended.code] += 1
        if why := wrong(ended, folder):
            shown = " ".join(word for word in words if word not in (*IMAGES, *TEXTS, *ARRAYS))
            problems.append(f"{path.relative_to(folder)}, {how}: {shown}: {why}\n{ended.said[-3000:]}")
    return codes, problems


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [words for uses in USES.values() for words in uses], ids=lambda words: " ".join(words[:2])
)
def test_what_is_done_with_damaged_files_is_done_with_whole_ones(world, words):
    world.restore()
    code, said = world.type(*words)
    assert code == 0, said


def test_a_few_damaged_files_are_refused_in_a_sentence_or_do_no_harm(world):
    codes, problems = sampled(world, 8, seed=1)
    assert not problems, "\n\n".join(problems)
    assert sum(codes.values()) == 8


@pytest.mark.slow
def test_many_damaged_files_are_refused_in_a_sentence_or_do_no_harm(world, capsys):
    codes, problems = sampled(world, DAMAGES, seed=2)
    with capsys.disabled():
        print(f"\n{sum(codes.values())} commands on damaged files ended with {dict(codes)}")
    assert not problems, f"{len(problems)} problems\n\n" + "\n\n".join(problems)


@pytest.mark.parametrize(
    ("file", "content", "words", "said"),
    [
        ("pre/result.json", '{"format": 2', USES["pre"][0], "pre: its result.json is damaged (result.json is no JSON)"),
        (
            "pre/config.yaml",
            BOMB,
            USES["pre"][0],
            "its config.yaml cannot be read (config.yaml has more than 20,000 values)",
        ),
        ("half/run.json", "{}", ("resume=half",), "half: its run.json is damaged (run_id is missing)"),
        (
            "half/progress.json",
            '{"seconds": "x"}',
            ("resume=half",),
            "progress.json is damaged (seconds has another type)",
        ),
        ("half/compile.json", "", ("resume=half",), "half: its compile.json is damaged"),
        ("half/machine.json", '{"threads": "many"}', ("resume=half",), "half: its machine.json is damaged (threads="),
        (
            "half/machine.json",
            '{"device": "toaster"}',
            ("resume=half",),
            "its machine.json is damaged (its device is none)",
        ),
        (
            "arr/train_labels.npy",
            "\x93",
            USES["arr"][0],
            "train_labels.npy holds no whole array; it must be 60 integers",
        ),
        (
            "txt/languages.json",
            '["en", 1]',
            USES["txt"][0],
            "txt: its languages.json cannot be read (languages.json is no",
        ),
        (
            "txt/languages.json",
            "[" * 10**5,
            USES["txt"][0],
            "txt: its languages.json cannot be read (languages.json is no",
        ),
    ],
)
def test_what_is_damaged_is_named(world, file, content, words, said):
    folder = world.restore()
    (folder / file).write_text(content)
    code, found = world.type(*words)
    assert (code, said in found) == (2, True), found
    assert "Traceback" not in found
    assert not (folder / "new").exists()


def test_a_run_that_another_machine_began_with_ten_million_threads_goes_on_with_those_there_are(world):
    folder = world.restore()
    about = json.loads((folder / "half/machine.json").read_text())
    (folder / "half/machine.json").write_text(json.dumps({**about, "threads": 10**7}))
    code, said = world.type("resume=half")
    assert code == 0, said
    assert json.loads((folder / "half/result.json").read_text())["environment"]["threads"] < 10**5


def test_a_damaged_note_of_what_a_run_began_with_is_no_end_of_it(world):
    folder = world.restore()
    (folder / "auto/start.json").write_text('"\x00')
    code, said = world.type("resume=auto")
    assert (code, "start.json is damaged" in said) == (0, True), said


def test_a_damaged_cache_of_images_is_decoded_anew(world):
    folder = world.restore()
    absurd = b"\x93NUMPY\x01\x00" + len(NUMPY_HEADERS[0]).to_bytes(2, "little") + NUMPY_HEADERS[0].encode()
    damages = (
        ("*.json", b'{"reasons": 3}'), ("*.json", b"[" * 100_000), ("*.npy", b""), ("*.npy", b"\x93NUM"), ("*.npy", absurd),
    )  # fmt: skip
    for files, content in damages:
        for path in (folder / "cache/images").rglob(files):
            path.write_bytes(content)
        code, said = world.type(*USES["cache/images"][0])
        assert code == 0, said
        shutil.rmtree(folder / "new")


def test_a_damaged_note_of_labels_in_a_cache_of_images_names_the_folder_to_remove(world):
    folder = world.restore()
    for path in (folder / "cache/images").rglob("*.json"):
        about = json.loads(path.read_text())
        if labels := about.get("notes", {}).get("labels"):
            labels[2] = -1
            path.write_text(json.dumps(about))
    code, said = world.type(*USES["cache/images"][0])
    assert (code, "is damaged; remove this folder, and images are decoded anew" in said) == (2, True), said
    assert not (folder / "new").exists()


def test_a_damaged_cache_of_texts_names_the_folder_to_remove(world):
    folder = world.restore()
    (lengths,) = (folder / "cache/texts").rglob("length.npy")
    (tokens,) = (folder / "cache/texts").rglob("tokens-*.bin")
    whole = lengths.read_bytes()
    for path, content in ((lengths, whole[:-8]), (tokens, b"\x7f" * len(tokens.read_bytes()))):
        path.write_bytes(content)
        code, said = world.type(*USES["cache/texts"][0])
        found = re.search(r"ssl-cli: (\S+): is damaged; remove this folder", said)
        assert code == 2, said
        assert found
        lengths.write_bytes(whole)
    shutil.rmtree(folder / found[1])
    assert world.type(*USES["cache/texts"][0]).code == 0


def test_a_label_that_makes_millions_of_classes_is_refused(world):
    folder = world.restore()
    labels = np.load(folder / "arr/train_labels.npy")
    labels[0] = 2**60
    np.save(folder / "arr/train_labels.npy", labels)
    code, said = world.type(*USES["arr"][0])
    assert (code, "labels go up to 1,152,921,504,606,846,976, and classes are counted from 0" in said) == (2, True), (
        said
    )


def test_what_a_file_says_does_not_steer_the_terminal(world):
    folder = world.restore()
    settings = yaml.safe_load((folder / "half/config.yaml").read_text())
    settings["schedule"]["pretrain"]["epochs"] = EVIL
    (folder / "half/config.yaml").write_text(yaml.safe_dump(settings))
    code, said = world.type("resume=half")
    assert (code, "\x1b" in said, r"\x1b]0;evil" in said) == (2, False, True), said


# Data that change while a run is not looking


def test_a_run_does_not_go_on_with_other_data(world):
    folder = world.restore()
    removed = folder / "pics/train/left/000.png"
    content = removed.read_bytes()
    removed.unlink()
    code, said = world.type("resume=half")
    expected = (
        "half: the training data of dataset=folder are not those that this run began with (60 inputs then, 59 now)"
    )
    assert (code, expected in said) == (2, True), said
    removed.write_bytes(content)
    code, said = world.type("resume=half")
    assert (code, "Going on after step 4" in said) == (0, True), said


def test_arrays_that_are_replaced_or_cut_are_noticed_by_a_run_that_goes_on(world):
    folder = world.restore()
    code, said = world.type("pretrain", *ARRAYS, *LONGER, NEW, stop_after=4)
    assert code == 130, said
    path = folder / "arr/train_inputs.npy"
    whole = np.load(path)
    np.save(path, whole[::-1])
    code, said = world.type("resume=new")
    assert (code, "60 inputs then, 60 now, with other content or labels" in said) == (2, True), said
    np.save(path, whole)
    path.write_bytes(path.read_bytes()[:2000])
    code, said = world.type("resume=new")
    assert (code, "train_inputs.npy holds no whole array" in said) == (2, True), said
    np.save(path, whole)
    assert world.type("resume=new").code == 0
