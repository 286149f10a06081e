"""Commands that need the same cache at the same time: real processes, of which one makes it while the others wait."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_folder import classes

from ssl_cli.data import progress
from ssl_cli.data.made_once import made_by_one
from ssl_cli.data.progress import show_progress
from ssl_cli.runs import claim
from ssl_cli.runs.turns import FOLDER, Holder

# A command that reads a data set, and says how many inputs it has decoded or tokenised itself. At the fifth it stands still until
# a line comes in, if it is told to.
READ = """
import logging, sys, time
from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.data.images import part
from ssl_cli.data.text import store
from ssl_cli.runs import turns
logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
turns.TOLD, store.ENCODED_AT_ONCE, part.AT_ONCE, halting, made = 0.0, 2, 2, sys.argv[1] == "halt", 0
def made_one():
    global made
    made += 1
    if halting and made == 5:
        print("halted", flush=True)
        sys.stdin.readline()
def decode(path, reading, real=part._decode):
    made_one()
    return real(path, reading)
def encode(tokenizer, pieces, real=store.encoded):
    for ids in real(tokenizer, pieces):
        made_one()
        yield ids
part._decode, store.encoded = decode, encode
data = load(from_overrides(*sys.argv[2:]).dataset)
print("made", made, data.fingerprint(), flush=True)
"""


# A process in the background begins without Ctrl-C.
INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from ssl_cli.cli.main import main
main()
"""


@pytest.fixture(params=["images", "texts"])
def words(request, tmp_path) -> list[str]:
    if request.param == "images":
        return [
            "dataset=folder",
            f"dataset.root={classes(tmp_path / 'own')}",
            f"dataset.cache={tmp_path / 'cache'}",
            "budget=all",
        ]
    table = tmp_path / "own.jsonl"
    table.write_text(
        "".join(json.dumps({"text": f"text number {n} of {n * n}", "label": "ab"[n % 2]}) + "\n" for n in range(20))
    )
    return ["dataset=texts", f"dataset.root={table}", f"dataset.cache={tmp_path / 'cache'}", "budget=all"]


def start(words: list[str], halt: bool = False) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", READ, "halt" if halt else "go", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def until(process: subprocess.Popen, text: str) -> list[str]:
    """The lines that a process says up to one with this text."""
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line.strip())
        if text in line:
            return said
    raise AssertionError(said)


def left_behind(cache: Path) -> list[str]:
    """What belongs to no cache that is whole: locks, and files half-written."""
    return [str(path.relative_to(cache)) for path in cache.rglob(".*")]


@pytest.mark.parametrize("killed", [False, True])
def test_one_command_makes_a_cache_and_another_waits_or_takes_over_when_it_is_killed(words, tmp_path, killed):
    maker = start(words, halt=True)
    waiter = None
    try:
        until(maker, "halted")
        waiter = start(words)
        line = until(waiter, "Waiting for")[-1]
        assert f"which another command (process {maker.pid} on {socket.gethostname()}) is making: 4 of 20" in line
        if killed:
            maker.kill()
        answer = maker.communicate(None if killed else "go\n", timeout=120)[0]
        rest = waiter.communicate(timeout=120)[0]
        assert waiter.returncode == 0, rest
    finally:
        for process in (maker, waiter):
            if process:
                process.kill()
                process.communicate()
    _, made, fingerprint = next(line for line in rest.splitlines() if line.startswith("made")).split()
    if killed:
        assert 0 < int(made) <= 20
    else:
        assert made == "0"
        assert f"made 20 {fingerprint}" in answer
    assert left_behind(tmp_path / "cache") == []
    if killed:
        assert f"made 0 {fingerprint}" in start(words).communicate(timeout=120)[0]


@pytest.mark.parametrize("sweep", [False, True])
def test_who_stops_waiting_is_told_and_leaves_no_empty_folder(words, tmp_path, sweep):
    maker = start(words, halt=True)
    waiter = None
    (tmp_path / "here").mkdir()
    try:
        until(maker, "halted")
        waiter = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, *(("-m", "seed=0,1") if sweep else ()), "pretrain", *words, "schedule=auto"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path / "here",
        )  # fmt: skip
        until(waiter, "Waiting for")
        waiter.send_signal(signal.SIGINT)
        rest = waiter.communicate(timeout=120)[0]
    finally:
        for process in (maker, waiter):
            if process:
                process.kill()
                process.communicate()
    assert waiter.returncode == 130, rest
    assert f"Stopped before the {'sweep' if sweep else 'run'} began; the same command begins it." in rest
    assert list((tmp_path / "here").iterdir()) == []


def test_a_cache_that_another_machine_makes_is_waited_for_until_that_is_silent(tmp_path, caplog):
    folder = tmp_path / "texts" / "some"
    place = tmp_path / FOLDER / "texts-some"
    place.mkdir(parents=True)
    lock = place / claim.NAME
    lock.write_text(json.dumps({"host": "elsewhere", "boot": "another", "pid": 7, "token": "theirs", "since": "then"}))
    (place / "progress.json").write_text("[1e999, 3]")  # damaged
    caplog.set_level("INFO", "ssl_cli")
    begun = time.monotonic()

    def grow_silent():
        old = time.time() - claim.STALE - 1
        os.utime(lock, (old, old))

    def once_it_is_said(_):
        grow_silent()
        return True

    caplog.handler.addFilter(once_it_is_said)
    try:
        with made_by_one(tmp_path, folder, "the tokens", "texts") as mine:
            assert mine.waited
    finally:
        caplog.handler.removeFilter(once_it_is_said)  # the handler outlives the test
    assert time.monotonic() - begun < claim.STALE
    assert caplog.messages == ["Waiting for the tokens, which another command (process 7 on elsewhere) is making."]
    assert list(tmp_path.iterdir()) == []


def test_where_no_lock_can_be_made_nobody_waits(tmp_path):
    (tmp_path / "file").touch()
    for cache in (tmp_path / "file", Path("/proc/none")):
        with made_by_one(cache, cache / "texts" / "some", "the tokens", "texts") as mine:
            assert not mine.waited


def test_the_bar_of_who_waits_follows_one_that_takes_over_with_less_to_do(monkeypatch):
    bars = []

    def kept(*arguments):
        bars.append(show_progress(*arguments))
        return bars[-1]

    monkeypatch.setattr(progress, "show_progress", kept)
    with progress.show_waiting("images", "images") as waiting:
        for done, total in ((10, 20), (2, 8)):
            waiting(Holder(7, "here", None, done, total))
            assert [(bar.n, bar.total) for bar in bars] == [(done, total)]
