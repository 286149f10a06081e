"""Hundreds of runs in one process: memory and open files stay what they are after the first ones."""

import os
import resource
import shutil
import statistics
from pathlib import Path

import pytest
from finished_runs import sentences
from test_damaged_files import QUICK, TEXTS

import ssl_cli

RUNS = int(os.environ.get("SSL_CLI_SOAK", "300"))
IMAGES = ("dataset=synthetic", "backbone.width=4", "budget.labels=20", *QUICK)
KINDS = (
    ("pretrain", *IMAGES, "reuse=false"), ("baseline", *IMAGES), ("probe", "checkpoint=pre", *IMAGES),
    ("finetune", "checkpoint=pre", *IMAGES), ("baseline", *TEXTS), ("predict", "stage.run=texts", "stage.inputs=a.tsv"),
)  # fmt: skip
SLACK = 24 << 20  # bytes that an allocator may keep: far less than what a leak of 100 kB a run would come to


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


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
        files.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
    third = RUNS // 3
    middle, last = (statistics.median(memory[first : first + third]) for first in (third, 2 * third))
    with capsys.disabled():
        sizes = ", ".join(f"{int(size) >> 20} MiB" for size in (memory[0], middle, last))
        print(f"\n{RUNS} runs: {sizes}; {files[third]}, {files[-1]} files")
    assert last < middle + SLACK
    assert max(files[2 * third :]) <= max(files[third : 2 * third])
