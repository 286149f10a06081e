"""The page on a person's own data runs as it stands."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "your_data.md").read_text()
README = (Path(__file__).parent.parent / "README.md").read_text()
SCRIPT, FROM_PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
TRAINS = ("ssl-cli dataset", "ssl-cli finetune", "ssl-cli select")


def carry_out(folder: Path, more: str) -> None:
    """All commands of the page; `more` is added to those that train."""
    (folder / "write_digits.py").write_text(SCRIPT)
    for line in COMMANDS:
        words = (
            [sys.executable, *line.split()[1:]]
            if line.startswith("python")
            else [sys.executable, "-m", "ssl_cli", *line.split()[1:]]
        )
        added = more.split() if line.startswith(TRAINS) else []
        added += [f"dataset.cache={folder / 'cache'}"] if line.startswith(TRAINS) else []
        done = subprocess.run([*words, *added], cwd=folder, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, (line, done.stdout[-2000:], done.stderr[-2000:])
    with (folder / "outputs/predicted/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert {row["class"] for row in rows} <= set("0123456789")
    for name in (
        "compared/report.html",
        "embedded/features.npy",
        "embedded/map.png",
        "exported/model.safetensors",
        "selected/label.html",
    ):
        assert (folder / "outputs" / name).stat().st_size > 0


def run_python(folder: Path, code: str) -> str:
    """What it prints, in a process that has neither the training images nor the folder of settings."""
    shutil.rmtree(folder / "digits")
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_commands_follow_each_other(tmp_path):
    carry_out(tmp_path, "schedule=smoke schedule.minutes=null")
    assert run_python(tmp_path, FROM_PYTHON).startswith("[")


@pytest.mark.slow
def test_the_page_as_it_stands(tmp_path):
    carry_out(tmp_path, "")
    assert run_python(tmp_path, FROM_PYTHON).startswith("['0', '0']")
    with (tmp_path / "outputs/predicted/predictions.csv").open() as file:
        right = [row["class"] == str(int(row["path"].removesuffix(".png")) // 500) for row in csv.DictReader(file)]
    assert sum(right) >= 17


def test_the_readme_has_the_same_lines_of_python():
    assert FROM_PYTHON.splitlines()[2] in README
