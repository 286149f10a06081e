"""A training that memory is not enough for says which settings to lower."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssl_cli.cli.carry_out import carry_out
from ssl_cli.errors import TrainingError
from ssl_cli.training import step as one_step

CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes."


@pytest.mark.parametrize(
    ("error", "words", "sentence"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of"),
            ("stage=pretrain",),
            r"there is no memory for another 2.50 GiB: lower schedule.pretrain.batch_size=16, or take a smaller network",
        ),
        (
            RuntimeError(CPU),
            ("stage=baseline", "budget.labels=20"),
            "there is no memory for another 64 bytes: lower schedule.supervised.batch",
        ),
        (
            MemoryError(),
            ("stage=semi", "budget.labels=20"),
            "memory is full: lower schedule.semi.batch_size=16 or stage.labelled_batch_size=64, or take",
        ),
    ],
)
def test_what_to_lower_is_said_where_a_step_does_not_fit(smoke, monkeypatch, error, words, sentence):
    def step(*_arguments):
        raise error

    monkeypatch.setattr(one_step, "take_step", step)
    config, run = smoke(*words)
    with pytest.raises(TrainingError, match=f"^{sentence}"):
        carry_out(config, run.folder)


def test_another_error_of_a_step_stays_what_it_is(smoke, monkeypatch):
    def step(*_arguments):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(one_step, "take_step", step)
    config, run = smoke("stage=pretrain")
    with pytest.raises(RuntimeError, match="shapes do not match"):
        carry_out(config, run.folder)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_batch_that_does_not_fit_ends_in_one_sentence(tmp_path):
    words = (
        "baseline", "dataset=synthetic", "dataset.facts.inputs=40000", "budget=all", "augment=none", "schedule=smoke",
        "schedule.supervised.batch_size=40000", "backbone.width=32", "runtime.threads=1", "runtime.precision=float32",
        "runtime.compile=false", "runtime.device=cpu",
    )  # fmt: skip
    limit = 6 << 30
    done = subprocess.run(
        [sys.executable, "-m", "ssl_cli", *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("ssl-cli: "), "Traceback" in done.stderr) == (1, 1, False), done.stderr
    assert "ssl-cli: there is no memory for another " in done.stderr
    assert "lower schedule.supervised.batch_size=40000, or take a smaller network" in done.stderr


PIECES = """
import resource
from pathlib import Path

import torch
from ssl_cli.training.memory import KeptMemory, keep_freed_memory

held = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20
keep_freed_memory()
kept = KeptMemory()
kept.check()
for _ in range(4):
    kept.check()
    pieces = [torch.ones(100_000 + 97 * number) for number in range(1000)]    # 0.6 GB, which are freed but for every tenth
    between = pieces[::10]
    del pieces
    print(held(), end=" ")
    kept.check()
    print(held())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_that_glibc_keeps_is_given_back_where_it_grows():
    said = subprocess.run([sys.executable, "-c", PIECES], capture_output=True, text=True, check=True).stdout
    before, after = zip(*(map(int, line.split()) for line in said.splitlines()), strict=True)
    assert min(before) - max(after) > 300
