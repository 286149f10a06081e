"""Ctrl-C and SIGTERM in the real command: the first one waits for the step, the second one for nothing."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_cli.runs.claim import holder_of

# A step that does not end by itself, as a step of hours would be: who is interrupted there has no time to wait for it.
METHOD = """
import os
import time
from pathlib import Path

from ssl_cli.methods.base import Method


class Waiting(Method):
    steps = 0

    def __init__(self, backbone):
        super().__init__(backbone)

    def loss(self, views, labels, draws):
        self.steps += 1
        if self.steps == 4:
            Path("waits").touch()
            Path(f"process-{os.getpid()}-waits").touch()
            while Path("waits").exists():
                time.sleep(0.02)
        return self.backbone(views[0]).square().mean(), {}
"""
SETTINGS = "name: waiting\n_target_: waiting.Waiting\n"
SMALL = (
    "pretrain", "--config-dir", "conf", "method=waiting", "dataset=synthetic", "schedule=smoke", "backbone.width=4",
    "reuse=false", "schedule.pretrain.epochs=6", "schedule.pretrain.max_steps=6",
    "runtime.threads=1", "runtime.compile=false", "trust=waiting",
    "runtime.checkpoint_seconds=0",
)  # fmt: skip
ENDS = 120.0  # seconds, where the step would never end


def started(folder: Path, *words: str, stderr: int = subprocess.STDOUT) -> subprocess.Popen[str]:
    (folder / "conf/method").mkdir(parents=True)
    (folder / "conf/method/waiting.yaml").write_text(SETTINGS)
    (folder / "waiting.py").write_text(METHOD)
    return subprocess.Popen(
        [sys.executable, "-m", "ssl_cli", *SMALL, *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])},
    )  # fmt: skip


def until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def said_by(process: subprocess.Popen[str], log: Path, words: str) -> None:
    until(process, lambda: log.exists() and words in log.read_text())


@pytest.mark.parametrize(
    ("number", "sweep"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGINT, True), (signal.SIGTERM, True)],
)
def test_a_second_request_to_stop_does_not_wait_for_the_step(cli, tmp_path, number, sweep):
    words = ("-m", "seed=0,1", "hydra.sweep.dir=all") if sweep else ("hydra.run.dir=all",)
    run = tmp_path / "all/0" if sweep else tmp_path / "all"
    process = started(tmp_path, *words)
    try:
        until(process, (tmp_path / "waits").exists)
        process.send_signal(number)
        said_by(process, run / "run.log", "Stops after this step")
        assert process.poll() is None
        process.send_signal(number)
        said, _ = process.communicate(timeout=ENDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    assert said.rstrip().endswith("Go on with: ssl-cli resume=all")
    assert said.count("Stops after this step, with a checkpoint; a second one stops at once") == 1
    assert holder_of(run) is None
    assert not [path for path in run.iterdir() if "partial" in path.name]
    assert not (tmp_path / "all/1/config.yaml").exists()
    assert (run / "checkpoint.pt").exists()
    if number == signal.SIGTERM or sweep:
        return
    (tmp_path / "waits").unlink()
    resumed = cli("resume=all", "trust=waiting", PYTHONPATH=os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "Going on after step 3." in resumed.stdout


def test_ctrl_c_that_ends_the_reader_of_what_is_said_too_costs_no_step(cli, tmp_path):
    process = started(tmp_path, "hydra.run.dir=all", stderr=subprocess.DEVNULL)
    try:
        until(process, (tmp_path / "waits").exists)
        assert process.stdout is not None
        process.stdout.close()  # as `ssl-cli … | tee FILE` does
        process.send_signal(signal.SIGINT)
        (tmp_path / "waits").unlink()
        process.wait(timeout=ENDS)
    finally:
        process.kill()
        process.wait()
    resumed = cli("resume=all", "trust=waiting", PYTHONPATH=os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    assert "Going on after step 4." in resumed.stdout, resumed.stdout + resumed.stderr


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None, reason="needs joblib")
def test_a_second_request_to_stop_ends_the_jobs_in_other_processes_at_once(tmp_path):
    words = ("-m", "seed=0,1", "hydra.sweep.dir=all", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    process = started(tmp_path, *words)
    jobs = [tmp_path / "all/0", tmp_path / "all/1"]
    try:
        # Both are in their step: one that is asked to stop before it trains ends at once, and has no step to speak of.
        until(process, lambda: len(list(tmp_path.glob("process-*-waits"))) == 2)
        assert all(holder_of(job) for job in jobs)
        process.send_signal(signal.SIGINT)
        said_by(process, jobs[0] / "run.log", "Stops after this step")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=ENDS)
    finally:
        process.kill()
        process.wait()
        (tmp_path / "waits").unlink(
            missing_ok=True
        )  # or jobs that were left behind would wait for ever, beside other tests
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "Go on with: ssl-cli resume=all" in said
    assert [holder_of(job) for job in jobs] == [None, None]
