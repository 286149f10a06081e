"""Damaged files, and two processes in one folder."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ssl_cli.errors import ConfigError, TrainingError
from ssl_cli.runs import checkpoint, claim
from ssl_cli.runs.run import Run
from ssl_cli.runs.weights import read_weights
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.pretrain import pretrain
from ssl_cli.training import step as one_step


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def saved(run: Run, step: int) -> None:
    run.save_checkpoint({"step": step, "weights": torch.arange(100.0) + step}, 0, 0.0)


def test_every_flipped_bit_of_a_checkpoint_is_seen(smoke):
    _, run = smoke("stage=pretrain")
    saved(run, 1)
    path = run.folder / "checkpoint.pt"
    whole = path.read_bytes()
    assert torch.load(path, weights_only=True)["step"] == 1  # PyTorch reads it as any other
    bits = random.Random(0).sample(range(8 * len(whole)), 300) + list(range(8 * len(whole) - 16, 8 * len(whole)))
    for bit in bits:
        flip(path, bit)
        with pytest.raises(ConfigError, match=r"checkpoint.pt is damaged \(the checksum is wrong\)"):
            run.checkpoint()
        path.write_bytes(whole)
    for length in (0, 1, 20, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError, match=r"checkpoint.pt is damaged"):
            run.checkpoint()
    path.write_bytes(whole)
    assert run.checkpoint()["step"] == 1


def test_the_checkpoint_before_a_damaged_one_is_used_and_that_is_said(smoke, caplog, monkeypatch):
    monkeypatch.setattr("ssl_cli.runs.checkpoint.log.propagate", True)
    _, run = smoke("stage=pretrain")
    saved(run, 1)
    saved(run, 2)
    flip(run.folder / checkpoint.LAST, 999)
    with caplog.at_level("WARNING", logger="ssl_cli"):
        assert run.checkpoint()["step"] == 1
    assert "checkpoint.pt is damaged (its checksum is wrong); going on from the checkpoint before it" in caplog.text
    saved(run, 3)
    flip(run.folder / checkpoint.LAST, 999)
    assert run.checkpoint()["step"] == 1  # the damaged one took no good one's place
    (run.folder / checkpoint.LAST).rename(run.folder / checkpoint.PREVIOUS)  # killed between two renames
    with caplog.at_level("WARNING", logger="ssl_cli"):
        assert run.checkpoint()["step"] == 1
    assert "checkpoint.pt is not there" in caplog.text


def test_a_run_with_a_damaged_checkpoint_ends_in_the_same_weights(smoke, monkeypatch):
    longer = ("stage=pretrain", "schedule.pretrain.max_steps=6", "runtime.checkpoint_seconds=0")
    config, whole = smoke(*longer, folder="whole")
    pretrain(config, whole)
    _, run = smoke(*longer, folder="damaged")

    step, taken = one_step.take_step, []

    def stop_after_four(*everything):
        taken.append(None)
        if len(taken) > 4:
            raise TrainingError("stopped")
        return step(*everything)

    monkeypatch.setattr(one_step, "take_step", stop_after_four)
    with pytest.raises(TrainingError, match="stopped"):
        pretrain(config, run)
    monkeypatch.setattr(one_step, "take_step", step)
    flip(run.folder / "checkpoint.pt", 4321)
    pretrain(config, run)
    for name in ("backbone.safetensors", "metrics.jsonl", "checkpoint.pt"):
        assert (run.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert not (run.folder / checkpoint.PREVIOUS).exists()


def test_weights_that_are_not_the_ones_a_run_ended_with_are_refused(smoke):
    config, run = smoke("stage=pretrain")
    pretrain(config, run)
    path = run.folder / "backbone.safetensors"
    assert read_weights(run.folder, "backbone")
    flip(path, 8 * path.stat().st_size - 100)
    with pytest.raises(ConfigError, match=r"backbone.safetensors is damaged or was replaced"):
        read_weights(run.folder, "backbone")
    started, tuned = smoke("stage=finetune", "budget.labels=20", f"checkpoint={run.folder}", folder="tuned")
    with pytest.raises(ConfigError, match=r"backbone.safetensors is damaged or was replaced"):
        finetune(started, tuned)


# Two processes


def lock(folder: Path, age: float = 0.0, **changed) -> Path:
    """A lock as another process left it."""
    path = folder / claim.NAME
    path.write_text(json.dumps({**claim._this_process(), "token": "theirs", "since": "then", **changed}))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


@pytest.mark.parametrize("age", [0.0, claim.STALE - 10])
def test_a_folder_in_use_on_another_machine_is_refused_whatever_its_process_number(tmp_path, age):
    lock(tmp_path, age, host="elsewhere", boot="another", pid=2**22)
    said = r"process 4194304 on elsewhere works there since then \(last sign of life \d+ s ago\); wait for it or end it"
    with pytest.raises(ConfigError, match=said), claim.claimed(tmp_path):
        pass
    assert json.loads((tmp_path / claim.NAME).read_text())["token"] == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == [claim.NAME]


def test_a_stale_one_is_taken_over_and_given_back(tmp_path):
    path = lock(tmp_path, claim.STALE + 10, host="elsewhere", boot="another")
    with claim.claimed(tmp_path), claim.claimed(tmp_path):  # this process may twice
        assert json.loads(path.read_text())["pid"] == os.getpid()
        claim.check_held(tmp_path)
    assert not path.exists()


def test_a_process_of_this_machine_that_has_ended_holds_nothing(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for changed in ({"pid": ended.pid}, {"pid": os.getpid(), "started": "another process of this number"}):
        lock(tmp_path, **changed)
        with claim.claimed(tmp_path):
            pass
    path = tmp_path / claim.NAME
    path.write_text("no JSON")
    with claim.claimed(tmp_path):
        assert json.loads(path.read_text())["host"] == socket.gethostname()


def test_who_lost_a_folder_writes_nothing_more_there(smoke, numbers):
    _, run = smoke("stage=pretrain")
    with run.claimed(), run.metrics(0) as metrics:
        metrics.add(1, {"loss": 1.0})
        saved(run, 1)
        before = (run.folder / "checkpoint.pt").read_bytes()
        lock(run.folder, host="elsewhere", pid=7)
        for write in (lambda: metrics.add(2, {"loss": 1.0}), lambda: saved(run, 2), lambda: run.finish(numbers())):
            with pytest.raises(TrainingError, match="process 7 on elsewhere goes on with the run"):
                write()
    assert (run.folder / "checkpoint.pt").read_bytes() == before
    assert (run.folder / "metrics.jsonl").read_text().count("\n") == 1
    assert (run.folder / claim.NAME).exists()  # the other one's


def test_the_holder_shows_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(claim, "BEAT", 0.01)
    with claim.claimed(tmp_path):
        os.utime(tmp_path / claim.NAME, (1, 1))
        deadline = time.monotonic() + 20
        while (tmp_path / claim.NAME).stat().st_mtime < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_of_two_commands_in_one_folder_the_second_is_refused_and_the_first_one_is_not_disturbed(cli, tmp_path):
    words = (
        "pretrain", "dataset=synthetic", "schedule=smoke", "backbone.width=4", "runtime.threads=1",
        "schedule.pretrain.max_steps=null", "schedule.pretrain.epochs=100000", "hydra.run.dir=run",
    )  # fmt: skip
    first = subprocess.Popen([sys.executable, "-m", "ssl_cli", *words], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run/metrics.jsonl").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for second in (words, ("resume=run",)):
            done = cli(*second)
            assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
            assert f"process {first.pid} on {socket.gethostname()} works there" in done.stderr
        assert first.poll() is None
        assert (tmp_path / "run/config.yaml").exists()
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "loss" in line]  # kNN accuracies have lines of their own
    assert steps == list(range(1, len(steps) + 1))
