"""The real command in real processes: help, mistakes, interruptions, sweeps."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssl_cli.runs.files import partial_name

TINY = [
    "dataset=synthetic", "schedule=smoke", "budget.labels=20", "backbone.width=4", "runtime.threads=1",
    "runtime.checkpoint_seconds=0", "schedule.pretrain.max_steps=25", "schedule.pretrain.epochs=9",
    "schedule.supervised.max_steps=25", "schedule.supervised.epochs=30",
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "backbone   small auto bag bert_base gpt2_small resnet resnet18 resnet9 timm"),
        (["--cfg", "job"], 0, "temperature: 0.1"),
        (["--version"], 0, "ssl-cli "),
        (["budget.lables=5"], 2, "ssl-cli: budget.lables: no such key; did you mean budget.labels?\n"),
        (["baseline", "seed=x", "backbone=smal"], 2, "ssl-cli: backbone=smal: no such choice; did you mean small?"),
        (
            ["baseline", "--config-path=mine"],
            2,
            "ssl-cli: --config-path=mine: the settings of this program stand in its",
        ),
        (["baseline", "hydra.output_subdir=x"], 2, "ssl-cli: hydra.output_subdir=x: must be null; a run's folder has"),
        (["resume=nowhere"], 2, "ssl-cli: resume=nowhere: is no run's folder"),
    ],
)
def test_help_settings_and_mistakes_come_without_torch(tmp_path, arguments, code, said):
    program = (
        "import sys; from ssl_cli.cli.main import main\n"
        f"sys.argv = ['ssl-cli', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit as exit: code = exit.code\n"
        "else: code = 0\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert said in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_its_data_refuse_leaves_the_folders_that_were_there(cli, tmp_path):
    (tmp_path / "outputs").mkdir()
    ended = cli("pretrain", "dataset=folder", "dataset.root=/nowhere")
    assert (ended.returncode, ended.stderr) == (2, "ssl-cli: dataset.root=/nowhere: there is no such folder\n")
    assert [path.name for path in tmp_path.rglob("*")] == ["outputs"]


def test_a_mistake_that_only_the_data_shows_leaves_no_folder(cli, tmp_path):
    done = cli("baseline", "dataset=mnist", "dataset.root=nothing", "dataset.download=false", "schedule=smoke")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "train-images-idx3-ubyte" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_starts_from_no_run_is_refused_once_and_leaves_no_folder(cli, tmp_path):
    sources = ("checkpoint=nowhere/x,nowhere/y", "seed=0,1")
    done = cli("-m", "finetune", *sources, "dataset=synthetic", "schedule=smoke", "hydra.sweep.dir=sweep")
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.endswith("it must be auto or the folder of a pre-training") for line in done.stderr.splitlines()] == [
        True
    ] * 2
    assert not list(tmp_path.iterdir())


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "ssl_cli", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for_lines(path: Path, lines: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{path} never had {lines} lines"
        time.sleep(0.002)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All that a run wrote, but for the clock, ids, places and what was said."""
    clocked = ("run.json", "progress.json", "run.log", "report.html", "results.csv")
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name in clocked:
            continue
        found[str(path.relative_to(folder))] = path.read_bytes()
    for name, content in found.items():
        if name.endswith(("result.json", "sweep.json")):
            found[name] = json.dumps(timeless(json.loads(content))).encode()
        elif name.endswith("arms.png"):
            found[name] = b""
    return found


def timeless(value):
    clock = ("seconds", "images_per_second", "finished", "run_id", "folder")
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in clock}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def assert_same_bytes(disturbed: Path, undisturbed: Path) -> None:
    ours, theirs = bytes_of(disturbed), bytes_of(undisturbed)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def test_a_comparison_killed_in_every_stage_goes_on_to_the_same_bytes(cli, tmp_path):
    assert cli("compare", *TINY, "hydra.run.dir=one/whole").returncode == 0
    # Not beside it: there it would find the finished pre-training and make none of its own.
    process = start(tmp_path, "compare", *TINY, "hydra.run.dir=two/killed")
    for arm, lines in (("labels-only", 3), ("pretrain", 5), ("same-head", 20)):
        wait_for_lines(tmp_path / "two/killed/seed0" / arm / "metrics.jsonl", lines, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / "two/killed/result.json").exists()
        process = start(tmp_path, "resume=two/killed")
    process.terminate()
    process.communicate()
    (tmp_path / "two").rename(tmp_path / "moved")
    done = cli("resume=moved/killed")
    assert done.returncode == 0, done.stderr + done.stdout
    assert_same_bytes(tmp_path / "moved/killed", tmp_path / "one/whole")


def test_a_run_that_is_asked_to_stop_says_how_to_go_on_and_does_to_the_same_bytes(cli, tmp_path):
    longer = [*TINY, "schedule.pretrain.max_steps=60", "runtime.checkpoint_seconds=1000"]
    assert cli("pretrain", *longer).returncode == 0
    (result,) = tmp_path.rglob("result.json")
    assert result.relative_to(tmp_path).parts[:2] == ("outputs", "pretrain")
    process = start(tmp_path, "pretrain", *longer, "hydra.run.dir=stopped")
    for number, code, lines in ((signal.SIGINT, 130, 4), (signal.SIGTERM, 143, 30)):
        wait_for_lines(tmp_path / "stopped/metrics.jsonl", lines, process)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == code, said
        assert "Go on with: ssl-cli resume=stopped" in said
        assert "Traceback" not in said
        process = start(tmp_path, "resume=stopped")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "Going on after step" in said
    assert_same_bytes(tmp_path / "stopped", result.parent)


def test_a_sweep_pretrains_once_ends_in_a_table_and_can_be_resumed(cli, tmp_path):
    quick = [word for word in TINY if "max_steps" not in word]
    done = cli("-m", "finetune", *quick, "budget.labels=10,20", "hydra.sweep.dir=outputs/sweeps/s")
    assert done.returncode == 0, done.stderr + done.stdout
    folder = tmp_path / "outputs/sweeps/s"
    rows = json.loads((folder / "sweep.json").read_text())
    assert [(row["arm"], row["labels"]) for row in rows] == [
        ("pre-trained, new head", 10),
        ("pre-trained, new head", 20),
    ]
    assert "pre-trained, new head" in done.stdout
    assert (folder / "sweep.png").stat().st_size > 5000
    assert "With 20 labels, “pre-trained, new head” reaches" in (folder / "report.html").read_text()
    assert len((folder / "results.csv").read_text().splitlines()) == 4  # with the pre-training inside
    assert [str(path.parent.relative_to(folder)) for path in folder.rglob("head.safetensors")] == ["0/pretrain"]

    (folder / "1/result.json").unlink()
    left = partial_name(folder / "sweep.json")
    left.touch()
    before = (folder / "0/result.json").read_bytes()
    again = cli("resume=outputs/sweeps/s")
    assert again.returncode == 0, again.stderr + again.stdout
    assert (folder / "1/result.json").exists()
    assert (folder / "0/result.json").read_bytes() == before
    assert "finished already" in again.stdout
    assert not left.exists()


def test_a_strangers_run_must_not_run_code(cli, tmp_path, smoke):
    smoke("stage=baseline", "budget.labels=20", folder="run")
    settings = tmp_path / "run/config.yaml"
    settings.write_text(settings.read_text().replace("ssl_cli.data.images.synthetic.synthetic", "posixpath.join"))
    done = cli("resume=run")
    assert done.returncode == 2
    assert "would run code of posixpath.join; if you trust it, add trust=posixpath" in done.stderr


def test_a_mistake_never_deletes_what_was_there(cli, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep me")
    done = cli("baseline", *TINY, "hydra.run.dir=mine", "runtime.device=cuda:77")
    assert done.returncode == 2
    assert (tmp_path / "mine/notes.txt").read_text() == "keep me"
