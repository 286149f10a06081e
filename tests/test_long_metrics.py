"""Runs that log a million times."""

import importlib.util
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssl_cli.cli.runs.commands import carry_out_command
from ssl_cli.errors import Interrupted
from ssl_cli.report.curves import STRETCHES, thinned
from ssl_cli.runs import reading
from ssl_cli.runs.metrics import Metrics
from ssl_cli.runs.run import Run
from ssl_cli.stages.pretrain import pretrain
from ssl_cli.training import step as one_step

FEW, MANY = 50_000, 1_000_000


def written(count: int) -> Iterator[bytes]:
    for step in range(-count, 0):
        yield (json.dumps({"step": step, "loss": step % 97 + 0.5, "rate": 1e-3, "spread": 0.9}) + "\n").encode()


def interrupted(config, folder: Path, count: int, monkeypatch) -> Run:
    """A run that was stopped after two steps, and has logged so often before."""
    run, opened, take = Run(folder, config), Metrics.__init__, one_step.take_step
    taken = []

    def with_many(self: Metrics, path: Path, keep: int) -> None:
        opened(self, path, keep)
        self._file.writelines(written(count))
        self._file.flush()

    def stopped(*everything):
        taken.append(None)
        if len(taken) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return take(*everything)

    with monkeypatch.context() as patched:
        patched.setattr(Metrics, "__init__", with_many)
        patched.setattr(one_step, "take_step", stopped)
        with pytest.raises(Interrupted):
            pretrain(config, run)
    assert not (folder / "result.json").exists()
    return Run(folder, config)


@pytest.mark.slow
def test_a_million_lines_cost_twenty_times_what_a_twentieth_costs(smoke, tmp_path, monkeypatch):
    longer = ("schedule.pretrain.epochs=6", "schedule.pretrain.max_steps=6")
    config, _ = smoke("stage=pretrain", *longer)
    seconds: dict[str, list[float]] = {}

    def timed(what: str, *words: str) -> None:
        began = time.process_time()
        if words:
            carry_out_command(words[0], words[1:])
        else:
            pretrain(config, run)
        seconds.setdefault(what, []).append(time.process_time() - began)

    into = str(tmp_path / "tensorboard")
    for count in (FEW, MANY):
        folder = tmp_path / f"runs{count}"
        run = interrupted(config, folder / "run", count, monkeypatch)
        timed("status", "status", str(folder))
        timed("resume")
        assert (folder / "run/curves.png").exists()
        assert (folder / "run/metrics.jsonl").read_bytes().count(b"\n") > count
        timed("list", "list", str(folder))
        if importlib.util.find_spec("tensorboard"):
            timed("log", "log", str(folder), "--to", "tensorboard", "--into", into)
    print(seconds)
    for what, (few, many) in seconds.items():
        if what in ("status", "list"):
            assert many < 3 * few + 0.5, (what, few, many)
        else:
            assert many < 40 * few, (what, few, many)


def test_who_looks_at_a_run_reads_the_end_of_its_metrics_alone(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(written(20_000)))
    lines = reading.last_lines(path)
    assert lines[-1]["step"] == -1
    assert len(lines) < 10_000


@pytest.mark.parametrize(
    "damaged", [b'{"a": [{}\n{}]},{"step": 1}\n', b'[2]\n\xff\n{"step": 3} {}\n', b'{"step": 4', b"[" * 100_000 + b"\n"]
)
def test_lines_that_are_damaged_are_left_out_each_by_itself_also_where_they_are_whole_together(tmp_path, damaged):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 0}\n {"step": 1} \r\n' + damaged)
    assert list(reading.all_lines(path)) == reading.last_lines(path) == [{"step": 0}, {"step": 1}]


def test_a_long_curve_keeps_its_ends_and_peaks():
    values = [0.0] * 100_000
    values[54_321], values[77_777] = 9.0, -9.0
    steps, kept = thinned(list(range(len(values))), values)
    assert len(steps) <= 2 * STRETCHES + 2
    assert (steps[0], steps[-1]) == (0, 99_999)
    assert dict(zip(steps, kept, strict=True))[54_321] == kept.max() == 9
    assert dict(zip(steps, kept, strict=True))[77_777] == kept.min() == -9
