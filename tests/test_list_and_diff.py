"""`ssl-cli list` and `ssl-cli diff`: runs side by side."""

import itertools
import json
import os
import pty
import subprocess
import sys

import pytest

from ssl_cli.runs.reading import LARGEST
from ssl_cli.runs.varying import as_words, what_varies


def begun_at(run, moment: str) -> None:
    path = run.folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "began": moment}))


def test_runs_stand_newest_last_with_what_tells_them_apart(smoke, numbers, shown):
    for name, moment, temperature, accuracy in (("b", "2026-01-02", 0.1, 0.5), ("a", "2026-01-03", 0.7, 0.75)):
        _, run = smoke(
            "stage=finetune", f"method.temperature={temperature}", f"seed={accuracy:.0f}", folder=f"outputs/{name}"
        )
        begun_at(run, f"{moment}T10:00:00+00:00")
        run.finish(numbers(test_accuracy=accuracy))
    smoke("stage=pretrain", folder="outputs/c")
    heads, *lines = shown("list").splitlines()
    assert heads.split("  ")[0] == "run"
    assert [line.split()[0] for line in lines] == ["b", "a", "c"]
    assert "50.0 %" in lines[0]
    assert "75.0 %" in lines[1]
    assert "pre-trained, new head" in lines[0]
    assert lines[0].endswith("method.temperature=0.1")
    assert lines[1].endswith("method.temperature=0.7")
    assert "interrupted" in lines[2]
    assert "2026-01-02 10:00" in lines[0] or "2026-01-02" in lines[0]


def test_settings_of_a_group_are_shown_where_runs_of_the_same_choice_differ_in_them():
    runs = {
        number: {"method": {"name": name, "temperature": temperature, "momentum": momentum}}
        for number, (name, temperature, momentum) in enumerate(
            (("simclr", 0.1, None), ("simclr", 0.5, None), ("moco", 0.1, 0.99), ("moco", 0.5, 0.99))
        )
    }
    shown = [" ".join(as_words(settings)) for settings in what_varies(runs).values()]
    assert shown == [
        "method=simclr method.temperature=0.1", "method=simclr method.temperature=0.5",
        "method=moco method.temperature=0.1", "method=moco method.temperature=0.5",
    ]  # fmt: skip


def test_a_comparison_is_one_line_unless_its_parts_are_asked_for(smoke, numbers, shown):
    config, run = smoke("stage=compare", folder="outputs/one")
    run.child("seed0/first", config).finish(numbers())
    run.finish(numbers())
    assert [line.split()[0] for line in shown("list").splitlines()] == ["run", "one"]
    assert [line.split()[0] for line in shown("list", "--parts").splitlines()] == ["run", "one", "one/seed0/first"]


def test_the_list_fits_a_narrow_terminal(smoke, numbers, tmp_path):
    for name in ("2026-11-27_16-13-16-123456", "2026-11-27_16-14-16-123456"):
        _, run = smoke(
            "stage=finetune", f"seed={len(name)}", f"method.temperature=0.{name[15]}", folder=f"outputs/finetune/{name}"
        )
        run.finish(numbers())
    near, far = pty.openpty()
    subprocess.run(["stty", "cols", "60"], stdin=far, check=True)
    here = {key: value for key, value in os.environ.items() if key != "COLUMNS"}  # which goes before the terminal's own
    subprocess.run([sys.executable, "-m", "ssl_cli", "list"], cwd=tmp_path, env=here, stdin=far, stdout=far, check=True)
    os.close(far)
    said = os.read(near, 100_000).decode().replace("\033[1m", "").replace("\033[0m", "").splitlines()
    os.close(near)
    assert max(map(len, said)) <= 60
    assert sum("method.temperature=0." in line for line in said) == 2


def test_only_what_differs_between_two_runs_is_shown(smoke, numbers, shown):
    for name, words, given in (
        ("a", ["method=simclr", "method.temperature=0.5"], {"test_accuracy": 0.5, "labels": 20}),
        ("b", ["method=vicreg", "seed=3"], {"test_accuracy": 0.625, "labels": 20}),
    ):
        smoke("stage=finetune", *words, folder=f"outputs/{name}")[1].finish(numbers(**given))
    said = shown("diff", "outputs/a", "outputs/b")
    lines = [line.split() for line in said.splitlines()]
    assert ["setting", "outputs/a", "outputs/b"] in lines
    assert ["seed", "0", "3"] in lines
    assert ["method.name", "simclr", "vicreg"] in lines
    assert ["method.temperature", "0.5", "–"] in lines
    assert ["test_accuracy", "0.5", "0.625"] in lines
    assert not {"labels", "backbone.width", "method._target_"} & {line[0] for line in lines}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in itertools.pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("config.yaml", "stage: !!python/object/apply:os.system [touch trapped]\n", "config.yaml is no plain YAML"),
        ("config.yaml", "\x00\xff", "config.yaml is no plain YAML"),
        ("config.yaml", "[" * 50_000, "config.yaml is no plain YAML"),
        ("config.yaml", "- a list\n", "config.yaml holds no settings or numbers by name"),
        ("config.yaml", "a: &a {b: *a}\n", "config.yaml is no plain YAML"),
        ("config.yaml", BOMB, "config.yaml has more than 20,000 values"),
        ("result.json", "{", "result.json is no JSON"),
        ("result.json", "[" * 100_000, "result.json is no JSON"),
        ("run.json", "7", "run.json holds no settings or numbers by name"),
    ],
)  # fmt: skip
def test_a_damaged_run_is_one_line(smoke, numbers, shown, tmp_path, name, content, why):
    for folder in ("outputs/good", "outputs/bad"):
        smoke("stage=baseline", folder=folder)[1].finish(numbers())
    (tmp_path / "outputs/bad" / name).write_text(content)
    for command in ("status", "list"):
        said = shown(command)
        (line,) = [line for line in said.splitlines() if line.startswith("bad ")]
        assert "damaged" in line
        assert line.endswith(why)
        assert any(line.startswith("good ") and "50.0 %" in line for line in said.splitlines())
    assert "nothing can be removed" in shown("prune")
    assert not (tmp_path / "trapped").exists()


def test_a_file_too_large_and_a_pipe_are_not_read(smoke, numbers, shown, tmp_path):
    for folder in ("large", "pipe"):
        smoke("stage=baseline", folder=f"outputs/{folder}")[1].finish(numbers())
    os.truncate(tmp_path / "outputs/large/result.json", LARGEST + 1)
    (tmp_path / "outputs/pipe/run.json").unlink()
    os.mkfifo(tmp_path / "outputs/pipe/run.json")
    said = shown("list")
    assert f"result.json has {LARGEST + 1:,} bytes" in said
    assert "run.json is no file of its own" in said


def test_names_and_values_do_not_steer_the_terminal_and_are_no_markup(smoke, numbers, shown, tmp_path):
    steer = "\033]0;owned\007\033[2J"
    smoke("stage=baseline", folder=f"outputs/[red]{steer}")[1].finish(numbers())
    _, run = smoke("stage=baseline", folder="outputs/other")
    run.finish(numbers())
    for name, key, more in (("result.json", "arm", "[/x] \\u001b[31m\\u202e"), ("run.json", "began", "\\u001b")):
        path = run.folder / name
        path.write_text(path.read_text().replace(f'"{key}": "', f'"{key}": "{more}'))
    (run.folder / "config.yaml").write_text('stage: {name: "\\e[31m"}\nseed: "\\e[5m"\nbudget: 3\n')
    (run.folder / "failed.json").write_text("7")
    for words in (["status"], ["list"], ["prune"], ["diff", "outputs/other", f"outputs/[red]{steer}"]):
        said = shown(*words)
        assert "\033" not in said
        assert "\007" not in said
        assert "\u202e" not in said
    assert "[red]\\x1b]0;owned" in shown("list")
