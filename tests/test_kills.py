"""Processes that are killed at any moment: the run goes on, and ends in the bytes of one that was left alone."""

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from finished_runs import CLASSES, pictures, sentences
from PIL import Image
from test_command import bytes_of
from test_damaged_files import IMAGES, LONGER, TEXTS
from typed_commands import Commands, commands

from ssl_cli.config.trust import settings_folder
from ssl_cli.runs import claim
from ssl_cli.runs.sweep_jobs import RECORD

KILLS = int(os.environ.get("SSL_CLI_KILLS", "100"))
LABELS = "budget.labels=20"
METHODS = yaml.safe_load((settings_folder() / "stage/benchmark.yaml").read_text())["defaults"][:-1]
METHODS = [name for one in METHODS for name in one.values()]
STEPS = ("schedule.supervised.epochs=6", "schedule.supervised.max_steps=6")
# What is typed, in turn. Those with a run to start from take the one that is there already.
CASES: dict[str, tuple[str, ...]] = {
    "pretrain": ("pretrain", *IMAGES, *LONGER, "reuse=false"),
    "finetune": ("finetune", "checkpoint=pre", LABELS, *IMAGES, *STEPS),
    "baseline": ("baseline", LABELS, *IMAGES, *STEPS),
    "folds": ("baseline", LABELS, "stage.folds=2", *IMAGES),
    "probe": ("probe", "checkpoint=pre", LABELS, *IMAGES),
    "semi": ("semi", LABELS, *IMAGES),
    "distill": ("distill", "stage.teacher=tuned", LABELS, *IMAGES),
    "classical": ("classical", LABELS, *IMAGES),
    "evaluate": ("evaluate", "stage.run=tuned"),
    "predict": ("predict", "stage.run=tuned", "stage.inputs=pics/test"),
    "compare": ("compare", "stage.seeds=1", LABELS, *IMAGES, "reuse=false"),
    "sweep": ("-m", "baseline", "budget.labels=20,30", *IMAGES),
    "texts": ("baseline", *TEXTS),
    "benchmark": (
        "benchmark", "stage.equal=epochs", "stage.seeds=1", "head=simclr_v2", "head.keep=0", LABELS, *IMAGES, "reuse=false",
        *(f"~stage.methods.{name}" for name in METHODS if name not in ("vicreg", "rotation")),
    ),
    "processes": ("pretrain", *IMAGES, *LONGER, "reuse=false", "runtime.processes=2"),
}  # fmt: skip
ALONE = "processes"  # of these the first is killed, and the other one has to end by itself


@pytest.fixture(scope="module")
def typed() -> Iterator[Commands]:
    with commands() as ready:
        yield ready


@pytest.fixture(scope="module")
def here(typed, tmp_path_factory) -> Path:
    """A folder with data and what runs start from."""
    folder = tmp_path_factory.mktemp("kills") / "here"
    folder.mkdir()
    make_base(typed, folder)
    return folder


def begin(here: Path) -> None:
    """Nothing there but data and what runs start from: a cache is made anew, so that a process is killed while it makes it."""
    for name in ("run", "cache"):
        shutil.rmtree(here / name, ignore_errors=True)


def make_base(typed: Commands, folder: Path) -> None:
    for part, count, seed in (("train", 60, 0), ("test", 15, 1)):
        for number, (image, label) in enumerate(zip(*pictures(count, seed), strict=True)):
            path = folder / "pics" / part / CLASSES[label] / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    (folder / "a.tsv").write_text("\n".join(["text\tlabel", *(f"{t}\t{c}" for t, c in sentences(120, 0))]) + "\n")
    tuned = ("finetune", "checkpoint=pre", LABELS, *IMAGES, "hydra.run.dir=tuned")
    for words in (("pretrain", *IMAGES, "hydra.run.dir=pre"), tuned):
        code, said = typed(folder, *words, limit=240)
        assert code == 0, said


def made_in(folder: Path) -> dict[str, bytes]:
    """What was made there, but for the words that it was asked for with, and locks, which may outlive a process."""
    return {name: content for name, content in bytes_of(folder).items() if Path(name).name not in (RECORD, claim.NAME)}


def has_begun(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("config.yaml", RECORD))


def check_like(here: Path, whole: dict[str, bytes], case: str) -> None:
    found = made_in(here / "run")
    assert found.keys() == whole.keys(), case
    assert [name for name in found if found[name] != whole[name]] == [], case
    assert not [path for path in here.rglob("*") if "partial" in path.name], case
    assert [path for path in here.rglob(claim.NAME) if claim.holder_of(path.parent)] == [], case


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_what_is_killed_at_any_moment_goes_on_to_the_same_bytes(typed, here, capsys, case):
    source, kills, ended, began = random.Random(case), 0, 0, time.monotonic()
    words = CASES[case]
    asked = (*words, f"hydra.{'sweep' if '-m' in words else 'run'}.dir=run")
    begin(here)
    started = time.monotonic()
    code, said = typed(here, *asked, limit=300)
    takes = time.monotonic() - started
    assert code == 0, said
    whole = made_in(here / "run")
    begin(here)
    while kills < -(-KILLS // len(CASES)):
        again = ("resume=run",) if has_begun(here / "run") else asked
        code, said = typed(here, *again, limit=source.uniform(0.02, takes), alone=case == ALONE)
        assert code in (None, 0), (again, said)
        if code is None:
            kills += 1
        else:
            check_like(here, whole, case)
            begin(here)
            ended += 1
    code, said = typed(here, *(("resume=run",) if has_begun(here / "run") else asked), limit=300)
    assert code == 0, said
    check_like(here, whole, case)
    with capsys.disabled():
        took = time.monotonic() - began
        print(f"\n{case}: {kills} kills, {ended + 1} runs gone on with to their end, {took:.0f} s")
