"""Runs that need the same pre-training at the same time: real processes, of which one trains."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssl_cli.runs import claim
from ssl_cli.runs.turns import FOLDER, turn

RUN = (
    "finetune", "dataset=synthetic", "schedule=smoke", "runtime.precision=float32", "runtime.threads=1", "backbone.width=4",
    "runtime.compile=false", "runtime.checkpoint_seconds=0", "schedule.pretrain.max_steps=null",
    "schedule.pretrain.epochs=25", "schedule.pretrain.evaluate_every=0",
)  # fmt: skip


def start(folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "ssl_cli", *RUN, *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for(condition, *processes: subprocess.Popen) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert all(process.poll() is None for process in processes), [one.communicate()[0] for one in processes]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def said(folder: Path) -> str:
    path = folder / "run.log"
    return path.read_text() if path.exists() else ""


def pretrainings(folder: Path) -> list[str]:
    return sorted(str(path.parent.relative_to(folder)) for path in folder.rglob("pretrain/config.yaml"))


def keep_alive(process: subprocess.Popen) -> None:
    """Let a process that stands still show that it lives."""
    process.send_signal(signal.SIGCONT)
    time.sleep(0.1)
    process.send_signal(signal.SIGSTOP)


@pytest.mark.slow
def test_of_three_runs_at_once_one_pretrains_and_another_goes_on_with_it_when_that_one_is_killed(tmp_path):
    names = ("first", "second", "third")
    processes: dict[str, subprocess.Popen] = {}
    try:
        processes["first"] = start(tmp_path, "budget.labels=20", "hydra.run.dir=outputs/first")
        wait_for(lambda: lines(tmp_path / "outputs/first/pretrain/metrics.jsonl") > 3, processes["first"])
        processes["first"].send_signal(signal.SIGSTOP)
        for name in names[1:]:
            processes[name] = start(tmp_path, f"budget.labels={10 * len(name)}", f"hydra.run.dir=outputs/{name}")
        begun = time.monotonic()

        def others_wait() -> bool:
            nonlocal begun
            if time.monotonic() > begun + 10:
                begun = time.monotonic()
                keep_alive(processes["first"])
            return all("Waiting for a pre-training" in said(tmp_path / "outputs" / name) for name in names[1:])

        wait_for(others_wait, *processes.values())
        processes["first"].kill()
        assert processes["first"].wait() < 0
        for name in names[1:]:
            output = processes[name].communicate(timeout=300)[0]
            assert processes[name].returncode == 0, output
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    assert pretrainings(tmp_path) == ["outputs/first/pretrain"]
    logs = said(tmp_path / "outputs/second") + said(tmp_path / "outputs/third")
    assert logs.count("Going on with a pre-training that another run has begun: outputs/first/pretrain") == 1
    assert logs.count("Pre-trained already with these settings: outputs/first/pretrain") == 1
    metrics = (tmp_path / "outputs/first/pretrain/metrics.jsonl").read_text().splitlines()
    steps = [step for line in metrics if (step := json.loads(line).get("step")) is not None]
    assert steps == sorted(set(steps))  # it went on where it was
    assert not (tmp_path / "outputs" / FOLDER).exists()
    # The killed one, resumed, has nothing left to pre-train.
    resumed = subprocess.run(
        [sys.executable, "-m", "ssl_cli", "resume=outputs/first"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert "Pre-training with" not in resumed.stdout
    assert (tmp_path / "outputs/first/result.json").exists()


def process_that_holds(root: Path, work: str, then: str) -> subprocess.Popen:
    """A process that has its turn, and has begun work in a folder; then it does `then`."""
    code = (
        "import pathlib, sys, time\n"
        "from ssl_cli.runs.turns import turn\n"
        f"root = pathlib.Path({str(root)!r})\n"
        f"with turn(root, {work!r}, print) as mine:\n"
        "    (root / 'run').mkdir()\n"
        "    mine.works_in(root / 'run')\n"
        "    print('begun', flush=True)\n"
        "    sys.stdin.readline()\n"
        f"    {then}\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize(
    ("then", "left"), [("mine.done()", False), ("raise SystemExit(1)", True), ("time.sleep(600)", True)]
)
def test_a_turn_is_waited_for_and_passes_on_when_its_holder_ends_or_dies(tmp_path, then, left):
    root = tmp_path / "outputs"
    root.mkdir()
    holder = process_that_holds(root, "work", then)
    asked = []

    def waiting(who):
        asked.append((who.process, who.folder))
        if len(asked) == 1:
            assert holder.stdin is not None
            holder.stdin.write("go\n")
            holder.stdin.flush()
        if "sleep" in then:
            holder.kill()
            holder.wait()

    with turn(root, "work", waiting) as mine:
        assert asked
        assert set(asked) == {(holder.pid, root / "run")}
        assert mine.begun_in() == (root / "run" if left else None)
        mine.done()
    holder.communicate()
    assert [path.name for path in root.iterdir()] == ["run"]


def test_a_turn_of_another_machine_that_is_silent_passes_on(tmp_path):
    place = tmp_path / FOLDER / "work"
    place.mkdir(parents=True)
    lock = place / claim.NAME
    lock.write_text(json.dumps({"host": "elsewhere", "boot": "another", "pid": 1, "token": "theirs", "since": "then"}))
    asked = []

    def waiting(_):
        asked.append(1)
        old = time.time() - claim.STALE - 1
        os.utime(lock, (old, old))

    with turn(tmp_path, "work", waiting):
        assert asked == [1]


def test_a_folder_for_all_runs_that_was_not_there_is_gone_again(tmp_path):
    with turn(tmp_path / "outputs", "work", print):
        assert (tmp_path / "outputs").is_dir()
    assert list(tmp_path.iterdir()) == []
