"""Hundreds of runs in one process, and one run of an hour: memory and open files stay what they are at the beginning."""

import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from finished_runs import sentences
from test_damaged_files import QUICK, TEXTS

import ssl_cli

RUNS = int(os.environ.get("SSL_CLI_SOAK", "300"))
MINUTES = float(os.environ.get("SSL_CLI_SOAK_MINUTES", "60"))
IMAGES = ("dataset=synthetic", "backbone.width=4", "budget.labels=20", *QUICK)
KINDS = (
    ("pretrain", *IMAGES, "reuse=false"), ("baseline", *IMAGES), ("probe", "checkpoint=pre", *IMAGES),
    ("finetune", "checkpoint=pre", *IMAGES), ("baseline", *TEXTS), ("predict", "stage.run=texts", "stage.inputs=a.tsv"),
)  # fmt: skip
SLACK = 24 << 20  # bytes that an allocator may keep: far less than what a leak of 100 kB a run would come to


# What a long run does again and again: steps, lines of metrics, evaluations, checkpoints, a bar, signs of life in its lock.
LONG = (
    "reuse=false", "schedule.pretrain.epochs=10000000", "schedule.pretrain.max_steps=null", "schedule.pretrain.evaluate_every=4",
    "runtime.checkpoint_seconds=1", "hydra.run.dir=run",
)  # fmt: skip
LANGUAGE_MODEL = (    # whose tensors have another size at each step
    *TEXTS, "method=masked_lm", "method.next_sentence=false", "backbone=transformer", "backbone.dim=64", "backbone.layers=2",
    "head=linear", "augment=whole_text", "dataset.tokenizer.vocabulary=2000", "schedule.pretrain.batch_size=32",
)  # fmt: skip


def resident(process: int | str = "self") -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()


def write_sentences(file: Path) -> None:
    """Texts of 1 to 150 words."""
    words, rng = [f"{a}{b}" for a in ("ba", "ke", "lo", "mi") for b in range(400)], random.Random(0)
    rows = (f"{' '.join(rng.choices(words, k=rng.randint(1, 150)))}\t{number % 2}" for number in range(2000))
    file.write_text("\n".join(["text\tlabel", *rows]) + "\n")


def open_files(process: int | str = "self") -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_hundreds_of_runs_in_one_process_keep_neither_memory_nor_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.tsv").write_text("\n".join(["text\tlabel", *(f"{t}\t{c}" for t, c in sentences(120, 0))]) + "\n")
    ssl_cli.run("pretrain", *IMAGES, "hydra.run.dir=pre")
    ssl_cli.run("baseline", *TEXTS, "hydra.run.dir=texts")
    memory, files = [], []
    for number in range(RUNS):
        stage, *words = KINDS[number % len(KINDS)]
        ssl_cli.run(
            stage, *words, f"seed={number // len(KINDS) + 1}" if stage != "predict" else "seed=0", "hydra.run.dir=run"
        )
        shutil.rmtree("run")
        memory.append(resident())
        files.append(open_files())
    third = RUNS // 3
    middle, last = (statistics.median(memory[first : first + third]) for first in (third, 2 * third))
    with capsys.disabled():
        sizes = ", ".join(f"{int(size) >> 20} MiB" for size in (memory[0], middle, last))
        print(f"\n{RUNS} runs: {sizes}; {files[third]}, {files[-1]} files")
    assert last < middle + SLACK
    assert max(files[2 * third :]) <= max(files[third : 2 * third])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(("words", "slack"), [(IMAGES, SLACK), (LANGUAGE_MODEL, 5 * SLACK)], ids=["images", "texts"])
def test_a_run_of_an_hour_keeps_neither_memory_nor_files(tmp_path, capsys, words, slack):
    memory, files = [], []
    write_sentences(tmp_path / "a.tsv")
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "ssl_cli", "pretrain", *words, *LONG],
            cwd=tmp_path, stdout=said, stderr=said, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
    try:
        until = time.monotonic() + 60 * MINUTES
        while time.monotonic() < until:
            time.sleep(MINUTES / 5)  # three hundred looks in all
            assert process.poll() is None, (tmp_path / "said").read_text()
            if (tmp_path / "run/checkpoint.pt").exists():
                memory.append(resident(process.pid))
                files.append(open_files(process.pid))
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    third = len(memory) // 3
    first, middle, last = (statistics.median(memory[part * third : (part + 1) * third]) for part in range(3))
    lines = (tmp_path / "run/metrics.jsonl").read_bytes().count(b"\n")
    few = [
        min(files[part * third : (part + 1) * third]) for part in range(3)
    ]  # without those that are written just now
    with capsys.disabled():
        sizes = ", ".join(f"{int(size) / 2**20:.1f} MiB" for size in (first, middle, last))
        print(f"\n{MINUTES:g} minutes, {lines:,} lines of metrics: {sizes}; {few} files")
    assert last < middle + slack
    assert few[2] <= few[1]
