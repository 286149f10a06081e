"""The commands of the page on runs do what it says, in its order."""

import importlib.util
import re
from pathlib import Path

import pytest

from ssl_cli.cli.runs.commands import carry_out_command

PAGE = (Path(__file__).parent.parent / "docs" / "runs.md").read_text()
FIRST, *LATER = [
    line.split()[1:] for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_commands_follow_each_other(cli, tmp_path, monkeypatch):
    done = cli(*FIRST)
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    for command, *words in LATER:
        if "--to" not in words or importlib.util.find_spec(words[words.index("--to") + 1]):
            carry_out_command(command, words)
    assert not list(tmp_path.rglob("checkpoint.pt"))
    assert len(list(tmp_path.rglob("classifier.safetensors"))) == 2
