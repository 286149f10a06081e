"""Commands in a network namespace without interfaces, and what they try there: nothing, unless a download was asked for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from finished_runs import sentences
from test_damaged_files import QUICK, TEXTS

# Python calls it before anything of its own; a path is a socket on this machine, such as one between two of its processes.
WATCH = """
import os
import sys


def watch(event, given):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        asked = given[0] if event.startswith("socket.get") else given[1]
        if not isinstance(asked, (str, bytes)) or event.startswith("socket.get"):
            with open(os.environ["ATTEMPTS"], "a") as file:
                file.write(f"{event} {asked!r}\\n")


sys.addaudithook(watch)
"""
DIGITS = ("dataset=mnist5k", "budget.labels=20", "backbone.width=4", *QUICK)


@pytest.fixture(scope="module")
def alone() -> list[str]:
    """The words that start a program without a network."""
    for words in (["unshare", "-n"], ["unshare", "-rn"]):
        if (
            shutil.which("unshare")
            and subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
        ):
            return words
    pytest.skip("this kernel lets nobody leave the network (unshare -n)")


def carried_out(alone: list[str], folder: Path, *words: str) -> tuple[int, str, str]:
    """Exit code, what was said, and what was asked of a network."""
    (folder / "watch").mkdir(exist_ok=True)
    (folder / "watch/sitecustomize.py").write_text(WATCH)
    attempts = folder / "attempts"
    attempts.write_text("")
    path = os.pathsep.join([str(folder / "watch"), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, "ATTEMPTS": str(attempts)}
    done = subprocess.run(
        [*alone, sys.executable, *words],
        cwd=folder, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr, attempts.read_text()


@pytest.mark.parametrize("first", ["baseline", pytest.param("compare", marks=pytest.mark.slow)])
def test_no_command_asks_anything_of_a_network(alone, tmp_path, first):
    more = ("stage.seeds=1",) if first == "compare" else ()
    (tmp_path / "a.tsv").write_text("\n".join(["text\tlabel", *(f"{t}\t{c}" for t, c in sentences(120, 0))]) + "\n")
    commands = [(first, *more, *DIGITS, "hydra.run.dir=one")]
    if first == "baseline":
        commands += [
            ("baseline", *TEXTS, "hydra.run.dir=texts"),
            ("predict", "stage.run=texts", "stage.inputs=a.tsv", "hydra.run.dir=said"),
        ]
    for words in (*commands, ("report", "stage.runs=[one]", "hydra.run.dir=reported")):
        code, said, attempts = carried_out(alone, tmp_path, "-m", "ssl_cli", *words)
        assert (code, attempts) == (0, ""), said


def test_an_attempt_would_be_seen(alone, tmp_path):
    code, _, attempts = carried_out(
        alone, tmp_path, "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    )
    assert code == 1
    assert "192.0.2.1" in attempts
