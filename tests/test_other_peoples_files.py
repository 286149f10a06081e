"""Folders that hold other people's files: nothing of theirs is deleted, followed or overwritten."""

import pytest

from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import partial_name, write
from ssl_cli.runs.run import Run

TINY = ("dataset=synthetic", "schedule=smoke", "budget.labels=20", "backbone.width=4", "runtime.threads=1")


def test_hidden_files_beside_a_run_stay(cli, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    names = (".viminfo.1", ".notes.2024", ".config.yaml.123", ".metrics.jsonl.0123456789ab.partial")
    for name in names:
        (mine / name).write_text(name)
    done = cli("baseline", *TINY, "hydra.run.dir=mine")
    assert done.returncode == 0, done.stderr
    assert [(mine / name).read_text() for name in names] == list(names)


def test_a_mistake_that_only_the_data_shows_leaves_the_folder_as_it_was(cli, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/.notes.2024").write_text("keep me")
    done = cli("baseline", *TINY, "hydra.run.dir=mine", "runtime.device=cuda:77")
    assert done.returncode == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [".notes.2024"]


@pytest.mark.parametrize("name", ["metrics.jsonl", "run.log", "labels.csv", "notes.txt", "pretrain"])
@pytest.mark.parametrize("is_link", [True, False])
def test_a_folder_with_other_files_is_refused_before_anything_is_written(smoke, tmp_path, name, is_link):
    config, _ = smoke("stage=baseline", "budget.labels=20")
    victim = tmp_path / "victim"
    victim.write_text("keep me")
    folder = tmp_path / "mine"
    folder.mkdir()
    if is_link:
        (folder / name).symlink_to(victim)
    else:
        (folder / name).write_text("keep me")
    with pytest.raises(ConfigError, match=f"hydra.run.dir=.*mine: holds files that are not a run's .{name}.; choose"):
        Run(folder, config)
    assert (victim.read_text(), (folder / name).read_text()) == ("keep me", "keep me")
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize("name", ["metrics.jsonl", "run.log", ".ssl_cli.lock"])
def test_a_link_in_a_strangers_run_is_not_written_through(cli, smoke, tmp_path, name):
    smoke("stage=baseline", "budget.labels=20", folder="run")
    victim = tmp_path / "victim"
    victim.write_text("keep me")
    (tmp_path / "run" / name).symlink_to(victim)
    done = cli("resume=run")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert f"{name}: is a link" in done.stderr
    assert victim.read_text() == "keep me"


def test_a_run_inside_another_one_is_not_written_through_a_link(smoke, tmp_path):
    config, run = smoke("stage=compare", "budget.labels=20")
    (tmp_path / "theirs").mkdir()
    (run.folder / "seed0").symlink_to(tmp_path / "theirs")
    with pytest.raises(ConfigError, match="seed0: is a link to"):
        run.child("seed0/labels-only", config)
    assert list((tmp_path / "theirs").iterdir()) == []


def test_a_sweep_takes_no_folder_with_other_files(cli, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "multirun.yaml").write_text("tracks: 8")
    done = cli("-m", "baseline", *TINY, "seed=0,1", "hydra.sweep.dir=mine")
    assert done.returncode == 2
    assert "hydra.sweep.dir=" in done.stderr
    assert "holds files that are not a sweep's (multirun.yaml)" in done.stderr
    assert (folder / "multirun.yaml").read_text() == "tracks: 8"
    (folder / "multirun.yaml").rename(tmp_path / "tracks.yaml")
    (folder / "multirun.yaml").symlink_to(tmp_path / "tracks.yaml")
    for words in (("-m", "baseline", *TINY, "seed=0,1", "hydra.sweep.dir=mine"), ("resume=mine",)):
        assert cli(*words).returncode == 2
    assert (tmp_path / "tracks.yaml").read_text() == "tracks: 8"


@pytest.mark.parametrize("value", ["", "' '", "null"])
def test_outputs_must_be_a_place(cli, tmp_path, value):
    done = cli("baseline", *TINY, f"outputs={value}")
    assert done.returncode == 2
    assert "must be a path" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_was_killed_leaves_what_only_this_program_removes(smoke, tmp_path):
    _, run = smoke("stage=pretrain")
    left = partial_name(run.folder / "checkpoint.pt")
    left.write_text("half")
    (run.folder / ".checkpoint.pt.0123456789ab.ssl_cli-partial.txt").write_text("mine")
    with run.claimed():
        assert not left.exists()
    assert (run.folder / ".checkpoint.pt.0123456789ab.ssl_cli-partial.txt").read_text() == "mine"


def test_a_write_replaces_a_link_and_not_what_it_leads_to(tmp_path):
    (tmp_path / "victim").write_text("keep me")
    (tmp_path / "result.json").symlink_to(tmp_path / "victim")
    write(tmp_path / "result.json", "mine")
    assert (tmp_path / "victim").read_text() == "keep me"
    assert (tmp_path / "result.json").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json", "victim"]
