"""The help, completion in the shell, and the commands that a run ends with."""

import shlex

import pytest

from ssl_cli.cli import help
from ssl_cli.config.groups import groups

CHOICES = [(group.name, choice) for group in groups().values() for choice in group.choices]
TINY = ("dataset=synthetic", "schedule=smoke", "backbone.width=4", "runtime.threads=1", "budget.labels=40")


def test_the_help_fits_one_screen_and_names_every_choice():
    text = help.text([], None)
    lines = text.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert {choice for _, choice in CHOICES} <= set(text.split())


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_is_explained_with_its_settings(group, choice):
    given = ["stage.run=x"] if choice in ("evaluate", "export", "predict", "embed") else []
    given += ["stage.inputs=."] if choice in ("predict", "embed") else []
    given += ["stage.runs=."] if choice == "report" else []
    text = help.text([f"{group}={choice}", *given], None)
    name, about, *_ = text.splitlines()
    assert name == f"{group}={choice}"
    assert about[0].isupper() or about[0].isdigit() or about.startswith(("torchvision", "k-", "`"))


def test_settings_come_with_the_comments_that_stand_beside_them_in_the_file():
    text = " ".join(help.text(["head=linear"], None).split())
    assert "head.projection.widths=[128] `inputs`: as many as input features" in text  # the comment is that of its base
    assert "head.keep=0 projection layers kept in fine-tuning" in text
    assert "_target_" not in text


def test_a_setting_that_was_changed_is_shown_as_changed(cli):
    done = cli("pretrain", "--help", "method.temperature=0.7", "method=simclr")
    assert done.returncode == 0, done.stderr
    assert "method.temperature=0.7" in done.stdout
    assert done.stdout.startswith("stage=pretrain")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("ssl-cli pre", {"predict", "pretrain"}),
        ("ssl-cli pretrain method=b", {"method=barlow_twins", "method=bigan", "method=byol"}),
        ("ssl-cli pretrain fine", set()),  # one stage is enough
        ("ssl-cli budget.la", {"budget.labels="}),
        ("ssl-cli pru", {"prune"}),
        ("ssl-cli finetune pru", set()),
        ("ssl-cli list outputs/fi", {"outputs/finetune/", "outputs/first/"}),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_the_shell_completes_stages_commands_folders_groups_and_settings(cli, tmp_path, line, offered, shell):
    for name in ("finetune", "first", ".find", "pretrain"):
        (tmp_path / "outputs" / name).mkdir(parents=True)
    done = cli("-sc", f"query={shell}", COMP_LINE=line)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == offered


def next_command(said: str) -> list[str]:
    (line,) = [line for line in said.splitlines() if line.startswith("Next: ")]
    program, *words = shlex.split(line.removeprefix("Next: "), comments=True)
    assert program == "ssl-cli"
    return words


def test_what_a_run_says_to_type_next_runs_as_it_stands_with_the_same_settings(cli, tmp_path):
    said = cli("pretrain", *TINY, "method=rotation", "seed=3", "hydra.run.dir=a folder").stdout
    words = next_command(said)
    assert words[:2] == ["finetune", "checkpoint=a folder"]
    assert {*TINY, "method=rotation", "seed=3"} <= set(words)
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    assert next_command(done.stdout)[0] == "compare"


def test_the_next_command_varies_what_was_typed_and_nothing_twice(cli):
    words = next_command(cli("compare", *TINY, "head.keep=0").stdout)
    assert words[:2] == ["-m", "budget.labels=10,20,40"]
    assert [word for word in words if word.startswith("budget")] == ["budget.labels=10,20,40"]
    assert "head.keep=0" in words
