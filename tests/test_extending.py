"""docs/extending.md, carried out as it stands: a package of one's own with a method, a stage, a data set and a backbone."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
HELP, METHOD, STAGE, DATA, BACKBONE = (
    re.findall(r"^PYTHONPATH=\. ssl-cli (.*?)(?: {2,}#.*)?$", part, re.MULTILINE)
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)
)
CHOICES = {"method": "mirror", "stage": "class_means", "dataset": "stripes", "backbone": "pyramid"}
SYNTHETIC = "dataset=synthetic runtime.threads=1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return tmp_path


@pytest.fixture
def run(folder):
    """The command as a person types it in the folder of the page, with `PYTHONPATH=.`."""

    def typed(words: str, program: tuple[str, ...] = ("-m", "ssl_cli"), **more: str) -> subprocess.CompletedProcess:
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.run(
            [sys.executable, *program, *shlex.split(words)],
            cwd=folder, env={**os.environ, "PYTHONPATH": path, **more}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return typed


@pytest.fixture
def done(run):
    """The same, where it must succeed."""

    def succeeded(words: str) -> str:
        finished = run(words)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    return succeeded


@pytest.fixture
def refused(run, folder):
    """The one sentence with which a command line is refused, which leaves no run behind."""

    def said(words: str) -> str:
        finished = run(words)
        assert (finished.returncode, finished.stderr.count("\n")) == (2, 1), finished.stdout + finished.stderr
        assert not list(folder.rglob("config.yaml"))
        return finished.stderr.strip()

    return said


def result(folder: Path, pattern: str) -> dict:
    (path,) = folder.glob(pattern)
    return json.loads(path.read_text())


# The page


def test_each_kind_is_one_python_file_and_one_yaml_file():
    """As the table at its beginning says."""
    table = re.findall(r"^\| \[a .*?\]\(#.*?\) \| `(\S+)`, `(\S+)` \|", PAGE, re.MULTILINE)
    assert [name for pair in table for name in pair] == [name for name, _ in FILES]
    assert [name for _, name in table] == [f"conf/{group}/{choice}.yaml" for group, choice in CHOICES.items()]


def test_the_help_lists_the_choices_of_ones_own_and_explains_them(done):
    listed, explained = map(done, HELP)
    for group, choice in CHOICES.items():
        assert re.search(rf"^  {group} .*(\n   .*)*\b{choice}\b", listed, re.MULTILINE), listed
    assert "--config-dir FOLDER" in listed
    assert explained == done("--config-dir conf --help stage=class_means")
    assert explained.startswith("stage=class_means\nThe nearest class mean on frozen")
    assert re.search(r"^  stage.distance=euclidean +or cosine: features of length 1$", explained, re.MULTILINE)


# A method


def test_the_method_trains_is_compared_and_shows_its_pictures(done, folder):
    for words in METHOD:
        done(f"{words} {SYNTHETIC}")
    pretraining = next(folder.glob("outputs/pretrain/*"))
    assert result(pretraining, "result.json")["method"] == "mirror"
    assert "pretext_accuracy" in (pretraining / "metrics.jsonl").read_text()
    assert (pretraining / "pretext.png").stat().st_size > 1000
    assert list(folder.glob("outputs/compare/*/report.html"))


def test_what_a_method_refuses_is_one_sentence_before_anything_is_made(refused, folder):
    words = f"{METHOD[0]} {SYNTHETIC}"
    assert refused(f"{words} method.columns=40") == (
        "ssl-cli: method=mirror: columns=40: must be at most 28, the width of the inputs"
    )
    assert refused(f"{words} method.share=2") == "ssl-cli: method.share=2: must be in [0, 1]"
    assert not (folder / "outputs").exists()


# A stage


def test_the_stage_runs_and_says_its_result_and_what_comes_next(done, folder):
    said = done(f"{STAGE[0]} {SYNTHETIC} budget.labels=20")
    numbers = result(folder, "outputs/class_means/*/result.json")
    assert f"Nearest class mean: {100 * numbers['test_accuracy']:.1f} % with 20 labels" in said
    assert "Next: ssl-cli probe --config-dir conf schedule=smoke" in said
    assert numbers["test_accuracy"] > 0.3
    assert (numbers["ends_in"], len(numbers["identity"])) == ("table", 16)
    added = {"stage": "class_means", "arm": "class_means", "seed": 0, "dataset": "synthetic", "backbone": "small"}
    assert {key: numbers[key] for key in added} == added
    (pretraining,) = folder.glob("outputs/class_means/*/pretrain")
    again = f"hydra.run.dir=again checkpoint={pretraining}"
    done(f"stage={STAGE[0]} {SYNTHETIC} budget.labels=20 {again}")
    assert result(folder, "again/result.json")["test_accuracy"] == numbers["test_accuracy"]


def test_what_a_stage_refuses_is_one_sentence_before_anything_is_made(refused, folder):
    words = f"{STAGE[0]} {SYNTHETIC}"
    assert refused(f"{words} budget=random") == (
        "ssl-cli: budget=random: may leave a class without a label and so without a mean; use budget=balanced"
    )
    assert refused(f"{words} stage.distance=cosin") == (
        "ssl-cli: stage.distance=cosin: must be one of euclidean, cosine; did you mean cosine?"
    )
    assert refused(f"{words} stage.shrink=-1") == "ssl-cli: stage.shrink=-1: must be in [0, 1]"
    assert "schedule.pretrain.batch_size=300: there are 256" in refused(f"{words} schedule.pretrain.batch_size=300")
    assert not (folder / "outputs").exists()


def test_its_settings_are_refused_before_torch_is_imported(run):
    program = (
        "import sys; from ssl_cli.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as exit: sys.exit(3 if 'torch' in sys.modules else exit.code)"
    )
    assert run(f"{STAGE[0]} stage.shrink=2", ("-c", program)).returncode == 2


def test_what_only_the_data_shows_leaves_no_run_of_the_stage(refused):
    said = refused(f"{STAGE[0]} {SYNTHETIC} budget=fraction budget.fraction=0.02")
    assert said.startswith("ssl-cli: budget=fraction: leaves no label of class class ")


def test_a_sweep_of_the_stage_ends_in_a_table(done, folder):
    said = done(f"{STAGE[1]} {SYNTHETIC} budget.labels=20 hydra.sweep.dir=sweep")
    rows = json.loads((folder / "sweep/sweep.json").read_text())
    assert [(row["arm"], row["labels"], row["seeds"]) for row in rows] == [
        (f"class_means, stage.distance={distance}", 20, [0, 1]) for distance in ("euclidean", "cosine")
    ]
    assert "class_means, stage.distance=cosine" in said
    assert (folder / "sweep/sweep.png").exists()


def test_runs_and_sweeps_of_ones_own_go_on_where_they_are_trusted(done, run, folder):
    words = f"class_means method=mirror --config-dir conf schedule=smoke {SYNTHETIC}"
    done(f"{words} hydra.run.dir=run")
    done(f"-m {words} seed=0,1 hydra.sweep.dir=sweep")
    for place, lost, trust in (("run", "run/result.json", "my_lab"), ("sweep", "sweep/1/result.json", "my_lab,conf")):
        (folder / lost).unlink()
        stopped = run(f"resume={place}")
        assert stopped.returncode == 2
        assert "add trust=" in stopped.stderr
        assert "Nearest class mean" in done(f"resume={place} trust={trust}")
        assert (folder / lost).exists()


def test_a_misspelt_stage_of_ones_own_is_hinted_at(refused):
    assert refused("class_mean --config-dir conf").endswith("nor key=value; did you mean class_means?")


def test_a_good_choice_of_ones_own_is_not_complained_about_beside_a_bad_one(refused):
    assert refused("pretrain --config-dir conf method=mirror backbone=piramid") == (
        "ssl-cli: backbone=piramid: no such choice; did you mean pyramid?"
    )


def test_a_folder_of_ones_own_may_be_called_like_a_stage(done, folder):
    (folder / "conf").rename(folder / "probe")
    assert "name: class_means" in done("--config-dir probe class_means --cfg job")


def test_a_folder_of_ones_own_that_is_not_there_is_one_sentence(refused):
    assert refused("--config-dir cnof pretrain").startswith("ssl-cli: --config-dir=cnof: is no folder")
    assert refused("--config-dir cnof --help").startswith("ssl-cli: --config-dir=cnof: is no folder")


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("ssl-cli --config-dir conf cl", ["class_means", "classical"]),
        ("ssl-cli --config-dir=conf method=mi", ["method=micle", "method=mirror"]),
        ("ssl-cli -cd conf class_means stage.di", ["stage.distance="]),
        ("ssl-cli pre", ["predict", "pretrain"]),
    ],
)
def test_the_shell_completes_choices_of_ones_own(run, line, offers):
    finished = run("-sc query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert (finished.returncode, finished.stdout.split()) == (0, offers), finished.stderr


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("my_lab.class_means.class_means", "", "there is no Python module ''"),
        ("my_lab.class_means.class_means", "my_lab.class_means.means", "its module defines no 'means'"),
        ("(config: Config, run)", "(config: Config)", "must take two arguments, config and run"),
    ],
)
def test_a_stage_whose_function_cannot_be_called_is_refused_at_once(refused, folder, before, after, said):
    module = folder / "my_lab/class_means.py"
    module.write_text(module.read_text().replace(before, after))
    assert said in refused(STAGE[0])


def test_a_stage_may_write_as_little_as_it_likes(done, run, folder):
    module = folder / "my_lab/class_means.py"
    settings = module.read_text().partition("def class_means")[0].replace('("pretrain",)', "()")
    module.write_text(
        settings + "def class_means(config, run):\n    from ssl_cli.runs.result import Result\n\n"
        "    return run.finish(Result(identity='0' * 16, labels=0))\n"
    )
    assert "Finished in " in done(f"{STAGE[0]} {SYNTHETIC}")
    assert "Sweep finished: 2 runs in" in done(f"-m {STAGE[0]} {SYNTHETIC} seed=0,1")
    module.write_text(settings + "def class_means(config, run):\n    pass\n")
    nothing = run(f"{STAGE[0]} {SYNTHETIC}")
    assert (nothing.returncode, "Traceback" in nothing.stderr) == (1, False), nothing.stderr
    assert "stage=class_means: my_lab.class_means.class_means ended without run.finish" in nothing.stderr


# A data set


def test_the_data_set_is_compared(done, folder):
    for words in DATA:
        done(f"{words} runtime.threads=1")
    numbers = result(folder, "outputs/compare/*/result.json")
    assert (numbers["dataset"], numbers["classes"], numbers["labels"]) == ("stripes", 6, 60)


def test_what_a_data_set_refuses_is_one_sentence(refused):
    words = DATA[0]
    assert refused(f"{words} dataset.period=25") == (
        "ssl-cli: dataset=stripes: period=25: must be at most 24, the shorter side of the images"
    )
    assert refused(f"{words} dataset.noise=x") == "ssl-cli: dataset.noise=x: must be a number"
    assert "dataset=stripes has 240 labelled inputs" in refused(f"{words} budget.labels=241")


# A backbone


def test_the_backbone_is_compared_and_probed(done, folder):
    for words in BACKBONE:
        done(f"{words} {SYNTHETIC}")
    assert result(folder, "outputs/compare/*/result.json")["backbone"] == "pyramid"
    probed = result(folder, "outputs/probe/*/result.json")
    assert [row["features"] for row in probed["layers"] if row["name"].startswith("backbone")] == [32] * 6


def test_what_a_backbone_refuses_is_one_sentence_before_anything_is_read(refused, folder):
    words = f"{BACKBONE[0]} dataset=stripes"
    assert refused(f"{words} backbone.blocks=5") == (
        "ssl-cli: backbone=pyramid: inputs of 24×24 do not fit; sides must be at least 32"
    )
    assert refused(f"{words} backbone.width=0") == "ssl-cli: backbone.width=0: must be at least 1"
    assert not (folder / "outputs").exists()
