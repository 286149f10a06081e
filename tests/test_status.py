"""How runs are going, seen from another process: `ssl-cli status`, and the lines while a sweep runs."""

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_command import TINY

from ssl_cli.cli.carry_out import carry_out
from ssl_cli.cli.runs.commands import COMMANDS, carry_out_command
from ssl_cli.errors import ConfigError, Interrupted, TrainingError
from ssl_cli.runs import claim, failure
from ssl_cli.runs.unfinished import unfinished_like

DIVERGES = (
    "schedule.supervised.optimiser.lr=1e30",
    "schedule.supervised.max_steps=10",
    "schedule.supervised.epochs=10",
)
HOLD = """
import sys
from pathlib import Path
from ssl_cli.runs import claim
with claim.claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def line_of(said: str, name: str) -> list[str]:
    (line,) = [line for line in said.splitlines() if line.split()[:1] == [name]]
    return line.split()[1:]


def give_metrics(folder: Path, *lines: dict) -> None:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_run_in_another_process_is_running_and_then_interrupted(smoke, tmp_path, shown):
    _, run = smoke("stage=baseline", folder="outputs/one")
    run.training_begins(0, 1000)
    give_metrics(run.folder, {"step": 200, "loss": 1.0, "accuracy": 0.5})
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    said = shown("status")
    assert line_of(said, "one")[:4] == ["running", "200", "of", "1,000"]
    assert "50.0 % training labels" in said
    process.kill()
    process.communicate()
    assert (run.folder / claim.NAME).exists()  # nobody took it away
    said = shown("status", "outputs/one")
    assert line_of(said, "outputs/one")[0] == "interrupted"
    assert "left" not in said


def test_what_a_run_failed_of_stands_in_its_folder_until_it_goes_on(smoke, tmp_path, shown):
    config, run = smoke("stage=baseline", "budget.labels=20", *DIVERGES, folder="outputs/one")
    with pytest.raises(TrainingError) as caught:
        carry_out(config, run.folder)
    said = shown("status")
    assert line_of(said, "one")[0] == "failed"
    assert str(caught.value) in said
    for _ in range(2):  # who was asked to stop has not failed
        with contextlib.suppress(Interrupted), failure.noted(run.folder):
            assert not (run.folder / "failed.json").exists()
            raise Interrupted(signal.SIGINT)
    assert line_of(shown("status"), "one")[0] == "interrupted"


def test_a_crash_is_noted_too(tmp_path):
    with pytest.raises(ZeroDivisionError), failure.noted(tmp_path):
        1 / 0  # noqa: B018
    assert json.loads((tmp_path / failure.NAME).read_text())["error"] == "ZeroDivisionError: division by zero"


def test_a_failure_is_not_noted_where_another_process_goes_on(tmp_path):
    with contextlib.suppress(TrainingError), claim.claimed(tmp_path), failure.noted(tmp_path):
        (tmp_path / claim.NAME).unlink()
        claim.check_held(tmp_path)
    assert not (tmp_path / failure.NAME).exists()


def test_a_sweep_says_how_each_job_went_and_its_status_what_waits(cli, tmp_path, shown):
    swept = "schedule.supervised.optimiser.lr=0.01,1e30"
    done = cli("-m", "baseline", *TINY, swept, "seed=0,1", "hydra.sweep.dir=outputs/s")
    assert done.returncode == 1, done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("Job ")]
    assert [line.split()[1] for line in lines] == ["0", "1", "2", "3"]
    assert lines[0].startswith("Job 0 (schedule.supervised.optimiser.lr=0.01 seed=0): finished, ")
    assert "4 runs: 1 finished, 3 waiting; about " in lines[0]
    assert "): failed, " in lines[2]
    assert "the loss is" in lines[2]
    assert lines[3].endswith("4 runs: 2 finished, 2 failed.")

    said = shown("status", "outputs/s")
    assert [line_of(said, str(job))[0] for job in range(4)] == ["finished", "finished", "failed", "failed"]
    for path in (tmp_path / "outputs/s/3").iterdir():
        path.unlink()
    said = shown("status", "outputs")
    assert line_of(said, "s/3") == ["waiting", "schedule.supervised.optimiser.lr=1e+30", "seed=1"]
    assert said.splitlines()[-1] == "4 runs: 2 finished, 1 failed, 1 waiting."


def test_the_part_that_trains_is_named_and_its_time_told_from_its_steps(smoke, tmp_path, shown, numbers):
    config, run = smoke("stage=compare", "budget.labels=20", folder="outputs/compare")
    done = run.child("seed0/first", config)
    done.finish(numbers(test_accuracy=0.25))
    part = run.child("seed0/second", config)
    with claim.claimed(run.folder), claim.claimed(part.folder):
        part.training_begins(0, 40)
        progress = json.loads((part.folder / "progress.json").read_text())
        (part.folder / "progress.json").write_text(json.dumps({**progress, "seconds": 30, "from_seconds": 10}))
        give_metrics(part.folder, {"step": 10, "loss": 1, "accuracy": 1.0}, {"step": 10, "knn_accuracy": 0.5})
        said = shown("status")
        assert line_of(said, "compare") == [
            "running",
            "10",
            "of",
            "40",
            "30",
            "s",
            "50.0",
            "%",
            "kNN",
            "60",
            "s",
            "seed0/second",
        ]
        assert line_of(said, "compare/seed0/first")[0] == "finished"
        assert "compare/seed0/second" in said
        assert "seed0  " not in said  # a folder that only holds others is no run
    assert line_of(shown("status"), "compare")[0] == "interrupted"


def test_looking_writes_nothing(smoke, tmp_path, shown):
    _, run = smoke("stage=baseline", folder="outputs/one")
    with claim.claimed(run.folder):
        (tmp_path / "outputs/one").chmod(0o500)
        before = sorted((tmp_path / "outputs/one").iterdir())
        for command in ("status", "list", "prune"):
            shown(command)
        assert sorted((tmp_path / "outputs/one").iterdir()) == before
        (tmp_path / "outputs/one").chmod(0o700)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_start_without_torch(smoke, numbers, tmp_path, command):
    for name in "ab":
        _, run = smoke("stage=baseline", f"seed={ord(name)}", folder=f"outputs/{name}")
        give_metrics(run.folder, {"step": 1, "loss": 2.0})
        run.finish(numbers())
    words = {"diff": ["outputs/a", "outputs/b"], "log": ["--to", "tensorboard"]}.get(command, [])
    program = (
        "import sys; from ssl_cli.cli.main import main\n"
        f"sys.argv = ['ssl-cli', {command!r}, *{words!r}]\n"
        "main()\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["status", "nowhere"], "nowhere: is no folder; it must be"),
        (["list", "empty"], "empty: has no runs below it; runs are saved in outputs"),
        (["status", "empty"], "empty: has no runs below it"),
        (["list", "--newest"], "--newest: no such option of ssl-cli list; see ssl-cli list --help"),
        (["list", "empty", "more"], "more: one word too many of ssl-cli list"),
        (["diff", "empty"], "ssl-cli diff: the following arguments are required"),
        (["diff", "empty", "empty"], "empty: is no run's folder; name two of those that ssl-cli list shows"),
        (["log", "--to", "excel"], "ssl-cli log: argument --to: invalid choice: 'excel'"),
        (["prune", "a\0b"], "is no folder"),
    ],
)
def test_wrong_uses_are_one_sentence(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        carry_out_command(words[0], words[1:])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_use_ends_with_exit_code_2(cli):
    done = cli("list", "nowhere")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_command_typed_again_names_the_unfinished_run_like_it(smoke, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", "ssl_cli")
    words = ("stage=baseline", "budget.labels=20")
    config, _ = smoke(*words, folder="outputs/baseline/1")
    smoke(*words, "seed=1", folder="outputs/baseline/2")
    carry_out(config, tmp_path / "outputs/baseline/3")
    said = (
        "An unfinished run like this one exists: outputs/baseline/1; go on with it by ssl-cli resume=outputs/baseline/1"
    )
    assert said in caplog.text
    caplog.clear()
    (tmp_path / "outputs/baseline/1/result.json").write_text("{}")
    with claim.claimed(smoke(*words, folder="outputs/baseline/4")[1].folder):  # somebody is at it
        carry_out(config, tmp_path / "outputs/baseline/5")
    assert "unfinished" not in caplog.text


def test_runs_beside_that_cannot_be_read_are_passed_over(tmp_path, monkeypatch):
    for name in ("new", "gone", "older"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("seed: 0\n")
    read = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.parent.name == "gone":
            raise FileNotFoundError(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    assert unfinished_like(tmp_path / "new") == tmp_path / "older"
