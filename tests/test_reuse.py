"""A sweep that is typed again trains only what no finished run below `outputs` has trained."""

import contextlib
import csv
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ssl_cli.cli import main as command
from ssl_cli.config import trust
from ssl_cli.config.compose import composed_jobs, sweep_settings
from ssl_cli.config.words import for_hydra, with_params
from ssl_cli.data import dataset
from ssl_cli.runs import claim
from ssl_cli.runs.files import named
from ssl_cli.runs.run import Run
from ssl_cli.runs.sweep_jobs import jobs_of

SMALL = ("dataset=synthetic", "schedule=smoke", "backbone.width=4", "runtime.threads=1", "runtime.precision=float32")
BASELINES = ("-m", "baseline", *SMALL, "budget.labels=20")


class Typed:
    """What the command said, and how it ended."""

    def __init__(self, code: int, said: str):
        self.code, self.said = code, said


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys):
    """The command as a person types it, in this process, which has PyTorch already; by a new process would take seconds each."""
    monkeypatch.chdir(tmp_path)
    for name in ("_packages", "_folders", "_components"):  # trust that is given here ends here
        monkeypatch.setattr(trust, name, set(getattr(trust, name)))

    def run(*words: str) -> Typed:
        log, handlers = logging.getLogger("ssl_cli"), list(logging.getLogger("ssl_cli").handlers)
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        monkeypatch.setattr(sys, "argv", ["ssl-cli", *words])
        dataset._load_once.cache_clear()  # a new process would read the data anew
        code = 0
        try:
            command.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            for handler in [handler for handler in log.handlers if handler not in handlers]:
                log.removeHandler(handler)
            for number, handler in before.items():
                signal.signal(number, handler)
        told = capsys.readouterr()
        return Typed(code, told.out + told.err)

    return run


def sweeps(folder: Path) -> list[Path]:
    return sorted((folder / "outputs/sweeps").iterdir())


def trained(folder: Path) -> set[str]:
    """The files of weights below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*.safetensors")}


def rows(sweep: Path) -> dict[tuple[str, int], list[int]]:
    """By arm and labels, the seeds in a sweep's table."""
    return {(row["arm"], row["labels"]): row["seeds"] for row in json.loads((sweep / "sweep.json").read_text())}


def test_a_sweep_of_both_arms_pretrains_once_a_seed_and_typed_again_trains_nothing_and_imports_no_torch(
    typed, cli, tmp_path
):
    words = ("-m", "stage=baseline,finetune", *SMALL, "budget.labels=20,30", "seed=0")
    done = typed(*words)
    assert done.code == 0, done.said
    first, before = sweeps(tmp_path)[0], trained(tmp_path)
    assert sorted(name for name in before if "head" in name) == [
        f"outputs/sweeps/{first.name}/2/pretrain/head.safetensors"
    ]
    results = {path: path.read_bytes() for path in tmp_path.rglob("result.json")}

    program = (
        "import sys; from ssl_cli.cli.main import main\n"
        f"sys.argv = ['ssl-cli', *{words!r}]\nmain()\nassert 'torch' not in sys.modules, 'torch was imported'"
    )
    again = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert trained(tmp_path) == before
    assert {path: path.read_bytes() for path in tmp_path.rglob("result.json")} == results
    second = sweeps(tmp_path)[1]
    assert (second / "sweep.json").read_bytes() == (first / "sweep.json").read_bytes()
    assert (second / "label_curve.png").read_bytes() == (first / "label_curve.png").read_bytes()
    lines = [line for line in again.stdout.splitlines() if line.startswith("Job ")]
    assert len(lines) == 4
    assert lines[3].startswith("Job 3 (stage=finetune budget.labels=30): finished, ")
    assert lines[3].endswith(f", in outputs/sweeps/{first.name}/3")

    shutil.rmtree(first / "0")  # what was referred to is gone: it is trained again, and only that
    done = typed(f"resume={second}")
    assert done.code == 0, done.said
    assert trained(second) == {"0/backbone.safetensors", "0/classifier.safetensors"}
    assert rows(second) == rows(first)


def test_a_seed_a_label_count_or_a_setting_more_trains_what_is_new(typed, tmp_path, shown):
    assert typed(*BASELINES, "seed=0").code == 0
    one = typed("baseline", *SMALL, "budget.labels=20", "seed=1")  # not in a sweep, and found all the same
    assert one.code == 0, one.said
    done = typed(*BASELINES, "seed=0,1,2", "runtime.checkpoint_seconds=9", "schedule.supervised.log_every=7")
    sweep = sweeps(tmp_path)[-1]
    assert "2 of 3 jobs: finished, and not trained again." in done.said
    assert trained(sweep) == {"2/backbone.safetensors", "2/classifier.safetensors"}
    assert rows(sweep) == {("labels only, with augmentation", 20): [0, 1, 2]}

    said = shown("status", str(sweep))
    assert f"in outputs/sweeps/{sweeps(tmp_path)[0].name}/0" in said
    assert said.splitlines()[-1] == "3 runs: 3 finished."
    assert f"0, in outputs/sweeps/{sweeps(tmp_path)[0].name}/0" in shown("list", str(sweep))
    assert shown("status").splitlines()[-1] == "3 runs: 3 finished."  # each run once

    done = typed("-m", "baseline", *SMALL, "budget.labels=20,30", "seed=2")
    assert trained(sweeps(tmp_path)[-1]) == {"1/backbone.safetensors", "1/classifier.safetensors"}
    done = typed(*BASELINES, "seed=2", "backbone.width=8")
    assert trained(sweeps(tmp_path)[-1]) == {"0/backbone.safetensors", "0/classifier.safetensors"}
    done = typed(*BASELINES, "seed=2", "reuse=false")
    assert trained(sweeps(tmp_path)[-1]) == {"0/backbone.safetensors", "0/classifier.safetensors"}


def test_jobs_that_fail_or_are_refused_stop_no_others_and_are_named(typed, tmp_path, shown):
    write_table(tmp_path / "texts.csv", "cow")
    words = ("-m", "baseline", *TEXTS, "seed=0", "budget.labels=500,20,30")
    done = typed(*words, "schedule.supervised.optimiser.lr=1e30", "schedule.supervised.epochs=200")
    assert done.code == 1, done.said
    last = done.said.strip().splitlines()[-2:]
    assert last[0].startswith("ssl-cli: Job 0 (budget.labels=500): budget.labels=500: dataset=texts has 64 labelled")
    assert "Job 1 (budget.labels=20)" in last[1]
    assert "the loss is" in last[1]
    said = shown("status", str(sweeps(tmp_path)[0]))
    assert said.splitlines()[-1] == "3 runs: 3 failed."

    done = typed(*words)
    assert done.code == 2, done.said
    assert done.said.count("ssl-cli: Job ") == 1
    assert done.said.splitlines()[-1].startswith("ssl-cli: Job 0 (budget.labels=500): budget.labels=500: ")
    assert rows(sweeps(tmp_path)[1]) == {
        ("labels only, with augmentation", 20): [0], ("labels only, with augmentation", 30): [0],
    }  # fmt: skip
    again = typed(*words)  # what was refused is tried again
    assert again.code == 2
    assert trained(sweeps(tmp_path)[2]) == set()


TEXTS = (
    "dataset=texts", "dataset.root=texts.csv", "dataset.cache=cache", "dataset.tokenizer.vocabulary=300",
    "runtime.threads=1", "runtime.precision=float32", "schedule=smoke",
)  # fmt: skip


def write_table(path: Path, word: str) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for number in range(80):
            table.writerow([f"{word} {number} {'meows' if number % 2 else 'barks'} {number % 7}", "ab"[number % 2]])


def test_other_data_behind_the_same_path_are_trained_on_and_those_that_were_only_touched_are_not(typed, tmp_path):
    words = ("-m", "baseline", *TEXTS, "budget.labels=20", "seed=0")
    weights = {"0/backbone.safetensors", "0/classifier.safetensors"}
    write_table(tmp_path / "texts.csv", "cow")
    for change, expected in (
        (lambda: None, weights),
        (lambda: None, set()),
        (lambda: os.utime(tmp_path / "texts.csv"), set()),
        (lambda: write_table(tmp_path / "texts.csv", "cat"), weights),  # a file of the same size
        (lambda: write_table(tmp_path / "texts.csv", "cow"), set()),  # the first data again
    ):
        change()
        done = typed(*words)
        assert done.code == 0, done.said
        assert trained(sweeps(tmp_path)[-1]) == expected, done.said


def test_a_schedule_that_the_data_decide_is_found_again(typed, tmp_path):
    write_table(tmp_path / "texts.csv", "cow")
    words = [word for word in TEXTS if not word.startswith("schedule")] + ["seed=0"]
    words += ["schedule.supervised.batch_size=8", "schedule.supervised.max_steps=3"]
    assert typed("-m", "baseline", *words, "budget.labels=20").code == 0
    done = typed("-m", "baseline", *words, "budget.labels=20,30")
    assert done.code == 0, done.said
    assert trained(sweeps(tmp_path)[-1]) == {"1/backbone.safetensors", "1/classifier.safetensors"}
    done = typed("-m", "baseline", *words, "budget.labels=20", "schedule.supervised.max_steps=4")
    assert trained(sweeps(tmp_path)[-1]) == {"0/backbone.safetensors", "0/classifier.safetensors"}


def test_a_job_that_was_killed_goes_on_where_it_is(typed, tmp_path):
    words = ("-m", "baseline", *SMALL, "budget.labels=20", "seed=0,1", "runtime.checkpoint_seconds=0")
    longer = ("schedule.supervised.epochs=300", "schedule.supervised.max_steps=300")
    process = subprocess.Popen(
        [sys.executable, "-m", "ssl_cli", *words, *longer], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not any(named(tmp_path, "checkpoint.previous.pt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    (first,) = sweeps(tmp_path)
    assert not (first / "0/result.json").exists()

    done = typed(*words, *longer)
    assert done.code == 0, done.said
    assert "Going on after step" in done.said
    assert f"Goes on with the unfinished run in outputs/sweeps/{first.name}/0" in done.said
    assert trained(first) == {"0/backbone.safetensors", "0/classifier.safetensors"}
    second = sweeps(tmp_path)[1]
    assert trained(second) == {"1/backbone.safetensors", "1/classifier.safetensors"}
    assert rows(second) == {("labels only, with augmentation", 20): [0, 1]}


def test_of_a_key_that_stands_there_twice_a_sweep_takes_the_last_as_hydra_does(typed, tmp_path):
    words = ("-m", "classical", "dataset=synthetic", "budget.labels=30", "budget.labels=20", "seed=0,1", "seed=2,3")
    done = typed(*words, "hydra.sweep.dir=sweep")
    assert done.code == 0, done.said
    assert [job.words for job in jobs_of(tmp_path / "sweep")] == [("seed=2",), ("seed=3",)]
    assert rows(tmp_path / "sweep") == {("pixels and logistic regression", 20): [2, 3]}
    assert "2 runs: 2 finished." in done.said
    for proposed in re.findall("Next: ssl-cli (.*?) +#", done.said):
        keys = [word.partition("=")[0] for word in proposed.split()]
        assert len(keys) == len(set(keys)), proposed
    again = typed(*words, "hydra.sweep.dir=again")
    assert "All 2 jobs have finished runs; nothing is trained." in again.said


@pytest.mark.parametrize(
    "text",
    ["a,b", "a folder", "a'b", "a b\\", "a=b", "ä ö/x", "${x}", "outputs/x.y-z", "0.5", "null", "~/x", " a", "[1]"],
)
def test_a_path_in_a_command_that_is_proposed_is_read_as_it_is(text):
    read = OverridesParser.create().parse_override(f"checkpoint={for_hydra(text)}")
    assert (read.value(), read.is_sweep_override()) == (text, False)


def test_the_label_curve_is_a_sweep_whose_values_can_be_typed(typed):
    words = ["experiment=label_curve", "seed=3,4"]
    jobs = composed_jobs(with_params(sweep_settings(words).hydra.sweeper.params, words), multirun=True)
    assert {job.config.budget.labels for job in jobs} == {20, 50, 100, 200, 500, 1000}
    assert {job.config.seed for job in jobs} == {3, 4}
    done = typed("experiment=label_curve")
    assert (done.code, done.said) == (2, "ssl-cli: experiment=label_curve: is a sweep; add -m\n")


def test_jobs_in_folders_of_their_own_names_are_looked_for_anew_in_each_sweep(typed, tmp_path):
    own = ("hydra.sweep.dir=mine", "hydra.sweep.subdir=seed${seed}", "seed=0")
    assert typed("baseline", *SMALL, "budget.labels=20", "seed=0").code == 0
    done = typed("-m", "baseline", *SMALL, *own, "budget.labels=20")
    assert (done.code, trained(tmp_path / "mine")) == (0, set()), done.said
    done = typed("-m", "baseline", *SMALL, *own, "budget.labels=30")
    assert done.code == 0, done.said
    assert trained(tmp_path / "mine") == {"seed0/backbone.safetensors", "seed0/classifier.safetensors"}


@pytest.mark.parametrize("why", ["another process goes on with it", "it cannot be read"])
def test_an_unfinished_run_that_cannot_be_gone_on_with_is_no_silent_end_of_a_job(typed, tmp_path, monkeypatch, why):
    assert typed(*BASELINES, "seed=0").code == 0
    old = sweeps(tmp_path)[0] / "0"
    (old / "result.json").unlink()
    program = (
        "import time; from pathlib import Path; from ssl_cli.runs.claim import claimed\n"
        f"with claimed(Path({str(old)!r})): print(flush=True); time.sleep(99)"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        if why == "it cannot be read":
            (old / "config.yaml").write_text("seed: [")
        else:
            assert other.stdout is not None
            other.stdout.readline()
        monkeypatch.setattr(claim, "holder_of", lambda _: None)  # as it was a moment before
        done = typed(*BASELINES, "seed=0")
    finally:
        other.kill()
        other.communicate()
    new = sweeps(tmp_path)[1]
    if why == "it cannot be read":
        assert done.code == 2, done.said
        assert "ssl-cli: Job 0 (seed=0): " in done.said or "ssl-cli: Job 0: " in done.said
    else:
        assert done.code == 0, done.said
        assert trained(new) == {"0/backbone.safetensors", "0/classifier.safetensors"}


@contextlib.contextmanager
def held_by_another_process(run):
    program = (
        "from pathlib import Path; from ssl_cli.runs.claim import claimed\n"
        f"with claimed(Path({str(run)!r})): print(flush=True); input()"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        yield
    finally:
        other.communicate(b"\n")


def test_a_sweep_that_two_processes_go_on_with_trains_no_job_twice_where_it_lies_in_another_sweep(typed, tmp_path):
    assert typed(*BASELINES, "seed=0").code == 0
    run = sweeps(tmp_path)[0] / "0"
    for _ in range(2):  # the second sweep has no run of its own
        (run / "result.json").unlink()
        if len(sweeps(tmp_path)) == 1:
            assert typed(*BASELINES, "seed=0").code == 0
    with held_by_another_process(run):
        done = typed(f"resume={sweeps(tmp_path)[1]}")
        assert done.code == 0, done.said
        assert f"Another process is at the run of this job: {run.relative_to(tmp_path)}" in done.said
    assert trained(sweeps(tmp_path)[1]) == set()
    done = typed(f"resume={sweeps(tmp_path)[1]}")
    assert (done.code, trained(sweeps(tmp_path)[1])) == (0, set()), done.said
    assert (run / "result.json").exists()


def test_a_run_that_another_process_has_just_finished_is_not_trained_again(typed, tmp_path, monkeypatch):
    assert typed("baseline", *SMALL, "budget.labels=20", "hydra.run.dir=run").code == 0
    result = (tmp_path / "run/result.json").read_bytes()
    before = (tmp_path / "run/metrics.jsonl").read_bytes()
    (tmp_path / "run/result.json").unlink()
    claimed = Run.claimed

    @contextlib.contextmanager
    def late(self):
        (tmp_path / "run/result.json").write_bytes(result)
        with claimed(self):
            yield

    monkeypatch.setattr(Run, "claimed", late)
    done = typed("resume=run")
    assert (done.code, "was finished already" in done.said) == (0, True), done.said
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == before


def test_a_sweep_takes_no_folder_of_one_with_other_settings(typed, tmp_path):
    words = ("-m", "baseline", *SMALL, "hydra.sweep.dir=mine", "budget.labels=20")
    assert typed(*words, "seed=0").code == 0
    before = trained(tmp_path)
    refused = typed(*words, "seed=1")
    assert refused.code == 2
    assert "hydra.sweep.dir=mine: its job 0 is a run with other settings" in refused.said
    assert trained(tmp_path) == before
    again = typed(*words, "seed=0")
    assert (again.code, trained(tmp_path)) == (0, before)


def test_a_sweep_that_another_process_is_going_on_with_says_so_and_what_to_type_later(typed, tmp_path):
    words = ("-m", "classical", "dataset=synthetic", "budget.labels=20", "seed=0,1", "hydra.sweep.dir=sweep")
    assert typed(*words).code == 0
    (tmp_path / "sweep/0/result.json").unlink()
    with held_by_another_process(tmp_path / "sweep/0"):
        done = typed("resume=sweep")
    assert done.code == 0, done.said
    assert "Another process is at the run of this job: sweep/0" in done.said
    assert "1 run is being worked on by another process and left out: sweep/0." in done.said
    assert "Once that is done, ssl-cli resume=sweep shows all runs of the sweep." in done.said
    assert "not finished" not in done.said
    assert not (tmp_path / "sweep/0/failed.json").exists()


def test_a_sweep_that_finished_runs_answer_needs_nothing_of_what_they_started_from(typed, tmp_path):
    assert typed("pretrain", *SMALL, "hydra.run.dir=pre").code == 0
    tuned = ("-m", "finetune", *SMALL, "checkpoint=pre", "budget.labels=20", "seed=0")
    assert typed(*tuned).code == 0
    assert typed(*tuned).code == 0
    shutil.rmtree(tmp_path / "pre")
    second = sweeps(tmp_path)[1]
    done = typed(f"resume={second}")
    assert done.code == 0, done.said
    assert "The job has a finished run; nothing is trained." in done.said
    # Where what answered it is gone too, or was asked for something else, what is to be trained has nothing to start from.
    settings = sweeps(tmp_path)[0] / "0/config.yaml"
    settings.write_text(settings.read_text().replace("labels: 20", "labels: 30"))
    done = typed(f"resume={second}")
    assert (done.code, "pre: is no run's folder" in done.said) == (2, True), done.said
