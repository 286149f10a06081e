"""A run's or a sweep's folder from a stranger: it runs no code, and reads and writes nothing of the stranger's choice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ssl_cli.config import trust
from ssl_cli.config.build import plain
from ssl_cli.config.compose import from_overrides
from ssl_cli.errors import ConfigError
from ssl_cli.runs.saved import saved_settings
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.pretrain import pretrain

TRAP = "import pathlib; pathlib.Path('trapped').touch()"
RUN_CODE = {
    "_target_": "ssl_cli.cli.main._with_hydra",
    "arguments": ["pretrain", "dataset._target_=subprocess.Popen", f"+dataset.args=[{sys.executable},-c,{TRAP!r}]"],
}
TRUNCATE = {"_target_": "ssl_cli.runs.metrics.Metrics", "keep": 0}
OVERWRITE = {"_target_": "ssl_cli.runs.files.write", "content": "gone"}


def change(folder: Path, **parts) -> None:
    """Give a run's saved settings other parts."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **parts}, sort_keys=False))


@pytest.fixture
def begun(smoke):
    """The folder of a run that has only begun."""
    return smoke("stage=baseline", "budget.labels=20", folder="run")[1].folder


@pytest.fixture
def finished(smoke):
    """The folder of a finished classifier."""
    config, run = smoke("stage=baseline", "budget.labels=20", folder="run")
    finetune(config, run)
    return run.folder


def test_resuming_runs_no_function_of_this_program_that_is_no_component(cli, begun, tmp_path):
    change(begun, dataset=RUN_CODE)
    done = cli("resume=run")
    assert done.returncode == 2, done.stdout
    assert "dataset._target_=ssl_cli.cli.main._with_hydra: is not a data set of this program" in done.stderr
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("way", ["resume={}", "evaluate stage.run={}", "distill stage.teacher={} budget.labels=20"])
@pytest.mark.parametrize("target", [TRUNCATE, OVERWRITE])
def test_no_way_to_a_run_writes_to_a_file_of_its_choice(cli, finished, tmp_path, way, target):
    victim = tmp_path / "diary.txt"
    victim.write_text("dear diary")
    change(finished, dataset={**target, "path": str(victim)})
    if way.startswith("resume"):
        (finished / "result.json").unlink()
    done = cli(*way.format(finished).split(), "dataset=synthetic" if "distill" in way else "trust=harmless")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert f"_target_={target['_target_']}: is not a data set of this program" in done.stderr
    assert victim.read_text() == "dear diary"


def test_each_group_has_a_list_of_its_own():
    settings = plain(from_overrides("method=transfer", "stage=benchmark"))
    assert {group: len(trust.shipped(group)) > 0 for group in trust.KINDS} == dict.fromkeys(trust.KINDS, True)
    for place in (settings, settings["method"], settings["stage"]["methods"]["transfer"]):
        key = "source" if "source" in place else "dataset"
        assert trust.from_a_file("dataset", place[key]["_target_"]) is None
        assert "is not a backbone" in trust.from_a_file("backbone", place[key]["_target_"])
    assert "is not a component" in trust.from_a_file("", "ssl_cli.models.heads.MLP")


@pytest.mark.parametrize(
    "choice", ["method=transfer", "stage=benchmark", "stage=simclr_v2", "stage=evaluate stage.run=x"]
)
def test_all_that_ships_may_stand_in_a_file(tmp_path, choice):
    config = from_overrides(*choice.split())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(plain(config)))
    assert saved_settings("resume=x", tmp_path) == config


def test_nothing_around_a_foreign_component_is_imported(cli, begun, tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/__init__.py").write_text(TRAP)
    (tmp_path / "foreign/data.py").write_text("def given(): pass")
    change(begun, dataset={"_target_": "foreign.data.given"})
    refused = cli("resume=run", PYTHONPATH=os.pathsep.join(map(str, (tmp_path, Path(__file__).parent.parent))))
    assert refused.returncode == 2
    assert "would run code of foreign.data.given; if you trust it, add trust=foreign" in refused.stderr
    assert not (tmp_path / "trapped").exists()


def test_a_component_that_the_command_line_names_may_stand_in_the_files_of_its_run(monkeypatch):
    monkeypatch.setattr(trust, "_components", set())
    assert trust.from_a_file("dataset", "ssl_cli.data.images.synthetic._helper")
    trust.trust_components_of(from_overrides("method=rotation"))
    assert trust.from_a_file("method", "ssl_cli.methods.rotation.Rotation") is None
    assert trust.from_a_file("method", "my_methods.mirror.Mirror")


def test_a_name_may_be_that_of_a_folder_of_settings_too(monkeypatch, tmp_path):
    for kept in ("_packages", "_folders"):
        monkeypatch.setattr(trust, kept, set())
    (tmp_path / "conf").mkdir()
    monkeypatch.chdir(tmp_path)
    assert trust.settings_folder_problem("conf")
    assert trust.take(["seed=0", "trust=conf"]) == ["seed=0"]
    assert trust.settings_folder_problem("conf") is None
    assert trust.settings_folder_problem("other")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("trust=ssl_cli", "trust=ssl_cli: what a run may build of this program needs no trust"),
        ("trust=ssl_cli.runs.run", "needs no trust"),
        ("trust=", "must be a Python package, a folder of settings or hydra"),
        ("trust=no/such/folder", "must be a Python package, a folder of settings or hydra"),
    ],
)
def test_what_cannot_be_trusted_is_said(cli, begun, word, said):
    done = cli("resume=run", word)
    assert done.returncode == 2
    assert said in done.stderr


# Sweeps


@pytest.fixture
def sweep(tmp_path):
    """The folder of a sweep as Hydra records it; given overrides, folders of settings and where it was typed."""

    def record(*task: str, hydra: tuple[str, ...] = (), folders: tuple[str, ...] = (), cwd: Path = tmp_path) -> Path:
        folder = tmp_path / "sweep"
        folder.mkdir()
        saved = {
            "sweep": {"dir": "sweep"},
            "runtime": {
                "cwd": str(cwd),
                "config_sources": [{"path": path, "provider": "command-line"} for path in folders],
            },
            "overrides": {"task": list(task), "hydra": ["hydra.sweep.dir=sweep", "hydra.mode=MULTIRUN", *hydra]},
        }
        (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": saved}))
        return folder

    return record


LAUNCHER = "hydra.launcher._target_=subprocess.Popen"
CODE = f"[{sys.executable},-c,{TRAP!r}]"


@pytest.mark.parametrize(
    ("task", "hydra", "said"),
    [
        (["dataset._target_=subprocess.Popen"], [], "would run code of subprocess.Popen"),
        (["dataset._target_=ssl_cli.cli.main._with_hydra"], [], "is not a data set of this program"),
        ([LAUNCHER, f"+hydra.launcher.args={CODE}"], [], "add trust=hydra"),
        ([], [LAUNCHER], "add trust=hydra"),
        (["+dataset@hydra.callbacks.mine=synthetic"], [], "add trust=hydra"),
        (["hydra/launcher=mine"], [], "add trust=hydra"),
        (["hydra.searchpath=[file:///tmp]"], [], "add trust=hydra"),
        (["--config-dir=evil"], [], "is an option, not a setting"),
        (["-m"], [], "is an option, not a setting"),
    ],
)
def test_resuming_a_sweep_obeys_no_override_that_can_run_code(cli, sweep, tmp_path, task, hydra, said):
    sweep("stage=pretrain", "dataset=synthetic", "schedule=smoke", *task, hydra=tuple(hydra))
    done = cli("resume=sweep")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert said in done.stderr
    assert not (tmp_path / "trapped").exists()
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["multirun.yaml"]


def test_resuming_a_sweep_reads_a_folder_of_settings_only_where_it_is_trusted(cli, sweep, tmp_path):
    own = tmp_path / "theirs"
    (own / "schedule").mkdir(parents=True)
    (own / "schedule/tiny.yaml").write_text("defaults: [smoke, _self_]\npretrain: {max_steps: 1}\n")
    small = ("dataset=synthetic", "backbone.width=4", "schedule=tiny", "seed=0,1")
    folder = sweep("stage=pretrain", *small, folders=(str(own),))
    refused = cli("resume=sweep")
    assert refused.returncode == 2
    assert f"if you trust them, add trust={own}" in refused.stderr
    trusted = cli("resume=sweep", f"trust={own}")
    assert trusted.returncode == 0, trusted.stderr
    assert [json.loads((folder / job / "result.json").read_text())["steps"] for job in "01"] == [1, 1]


def test_a_sweep_does_not_lead_to_another_folder_than_where_it_lies(cli, sweep, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    sweep("stage=pretrain", "dataset=synthetic", "schedule=smoke", "backbone.width=4", "outputs=mine", cwd=elsewhere)
    assert cli("resume=sweep").returncode == 0
    settings = yaml.safe_load((tmp_path / "sweep/0/config.yaml").read_text())
    assert settings["outputs"] == str(tmp_path / "mine")


# Files that name other places


def test_a_run_starts_from_the_place_that_its_file_names_only_if_that_is_the_pretraining_it_wants(smoke, tmp_path):
    config, right = smoke("stage=pretrain", "seed=3", folder="right")
    pretrain(config, right)
    other, wrong = smoke("stage=pretrain", "seed=4", folder="wrong")
    pretrain(other, wrong)
    for place, followed in ((right.folder, True), (wrong.folder, False), (tmp_path / "nowhere", False)):
        config, run = smoke("stage=finetune", "seed=3", "budget.labels=20", folder=f"deep/er/{place.name}")
        (run.folder / "start.json").write_text(json.dumps(str(place)))
        started = finetune(config, run)["pretraining"]
        assert (started["folder"] == str(place)) is followed
        assert started["identity"] == json.loads((right.folder / "result.json").read_text())["identity"]


def test_a_resumed_run_does_not_go_to_the_folder_that_its_file_names(begun, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    born = json.loads((begun / "run.json").read_text())
    (begun / "run.json").write_text(json.dumps({**born, "folder": str(elsewhere)}))
    program = (
        "import os, sys; from ssl_cli.cli import carry_out, main as cli\n"
        "carry_out._function = lambda path: lambda *_: print('in', os.getcwd()) or sys.exit(0)\n"
        "sys.argv = ['ssl-cli', 'resume=run']; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert f"in {tmp_path}" in done.stdout, done.stderr


def test_places_are_saved_as_whole_paths_so_that_a_run_can_go_on_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = from_overrides("stage=distill", "stage.init=pretrained", "stage.teacher=old", "checkpoint=outputs/x")
    assert (config.stage.teacher, config.checkpoint) == (tmp_path / "old", tmp_path / "outputs/x")
    with pytest.raises(ConfigError, match="checkpoint=: must be auto or a path"):
        from_overrides("checkpoint=")
