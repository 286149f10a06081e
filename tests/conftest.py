import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssl_cli.cli.runs.commands import carry_out_command
from ssl_cli.config.compose import from_overrides
from ssl_cli.config.schema import Config
from ssl_cli.runs.result import Result
from ssl_cli.runs.run import Run
from ssl_cli.stages.fit import check_fit

# Tests run side by side, one for each core: a test whose processes take all cores waits for the others at every step.
os.environ["OMP_NUM_THREADS"] = "1"

SMALLEST = (
    "dataset=synthetic", "schedule=smoke", "runtime.precision=float32", "runtime.threads=1", "backbone.width=4",
)  # fmt: skip


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """Two folders deeper than usual: a run looks around for a pre-training like its own, and must not meet another test's."""
    deeper = tmp_path / "of" / "this_test"
    deeper.mkdir(parents=True)
    return deeper


@pytest.fixture
def numbers():
    """A result as a stage would give it, with the numbers that a test asks for."""

    def make(**given) -> Result:
        return Result(**{"identity": "0" * 16, "labels": 20, "test_accuracy": 0.5, **given})

    return make


@pytest.fixture
def fitting():
    """The config of a command line, checked as the command checks it before any data is read."""

    def prepare(*overrides: str) -> Config:
        config = from_overrides(*overrides)
        check_fit(config)
        return config

    return prepare


@pytest.fixture
def cli(tmp_path):
    """The command as a person types it, in a folder of its own."""

    def run(*arguments: str, folder: Path = tmp_path, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "ssl_cli", *arguments],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """What a command that looks at runs prints, such as `status`, typed in the test's folder."""
    monkeypatch.chdir(tmp_path)

    def show(command: str, *words: str) -> str:
        carry_out_command(command, words)
        return capsys.readouterr().out

    return show


@pytest.fixture
def smoke(tmp_path):
    """A stage in this process, on synthetic data unless told otherwise: its config, and its run in a new folder."""

    def prepare(*overrides: str, folder: str = "run") -> tuple[Config, Run]:
        small = [word for word in SMALLEST if not any(o.split("=")[0] == word.split("=")[0] for o in overrides)]
        if any(word.startswith("backbone=") and word != "backbone=small" for word in overrides):
            small = [word for word in small if word != "backbone.width=4"]
        config = from_overrides(f"outputs={tmp_path / 'outputs'}", *small, *overrides)
        return config, Run(tmp_path / folder, config)

    return prepare
