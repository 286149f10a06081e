"""docs/add_a_method.md, carried out as it stands."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "add_a_method.md").read_text()
FILES = re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^PYTHONPATH=\. ssl-cli (.*)$", PAGE, re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def run(folder: Path, words: str) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, "-m", "ssl_cli", *shlex.split(words)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_page_has_both_files_and_its_commands():
    assert [name for name, _ in FILES] == ["my_methods/mirror.py", "conf/method/mirror.yaml"]
    assert [command.split()[0] for command in COMMANDS] == ["pretrain", "compare"]


def test_its_method_trains_and_is_compared(folder):
    for command in COMMANDS:
        done = run(folder, f"{command} dataset=synthetic")
        assert done.returncode == 0, done.stderr
    (pretraining,) = folder.glob("outputs/pretrain/*/result.json")
    assert json.loads(pretraining.read_text())["method"] == "mirror"
    assert "pretext_accuracy" in (pretraining.parent / "metrics.jsonl").read_text()
    assert list(folder.glob("outputs/compare/*/report.html"))


def test_its_runs_and_sweeps_go_on_where_it_is_trusted(folder):
    assert run(folder, f"{COMMANDS[0]} dataset=synthetic hydra.run.dir=run").returncode == 0
    assert run(folder, f"-m {COMMANDS[0]} dataset=synthetic seed=0,1 hydra.sweep.dir=sweep").returncode == 0
    for place, result, words in (
        ("run", "run/result.json", "trust=my_methods"),
        ("sweep", "sweep/1/result.json", f"trust=my_methods,{folder / 'conf'}"),
    ):
        (folder / result).unlink()
        refused = run(folder, f"resume={place}")
        assert refused.returncode == 2
        assert "add trust=" in refused.stderr
        done = run(folder, f"resume={place} {words}")
        assert done.returncode == 0, done.stderr
        assert (folder / result).exists()


def test_its_settings_are_checked_by_their_annotations(folder):
    done = run(folder, f"{COMMANDS[0]} method.probability=2")
    assert done.returncode == 2
    assert "method.probability=2: must be in [0, 1]" in done.stderr
