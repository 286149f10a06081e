"""`ssl-cli prune`: what finished runs no longer need goes, and nothing else."""

import json
from pathlib import Path

import pytest
import torch

from ssl_cli.cli.carry_out import carry_out
from ssl_cli.cli.runs.commands import carry_out_command
from ssl_cli.config.compose import from_overrides
from ssl_cli.runs import claim
from ssl_cli.runs.files import partial_name
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.pretrain import pretrain


@pytest.fixture
def prune(tmp_path, monkeypatch, capsys):
    """`ssl-cli prune` in the test's folder: what it prints."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> str:
        carry_out_command("prune", words)
        return capsys.readouterr().out

    return call


@pytest.fixture
def finished(smoke, numbers, tmp_path):
    """A finished run without a training, with the files that one would have, by its name below outputs."""

    def make(name: str, *overrides: str, finish: bool = True):
        _, run = smoke("stage=baseline", *overrides, folder=f"outputs/{name}")
        (run.folder / "classifier.safetensors").write_bytes(b"weights")
        for checkpoint in ("checkpoint.pt", "checkpoint.previous.pt"):
            (run.folder / checkpoint).write_bytes(b"0" * 1000)
        if finish:
            run.finish(numbers())
        return run

    return make


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_checkpoints_of_finished_runs_go_and_only_when_told_to(finished, prune, tmp_path):
    finished("done")
    left = partial_name(tmp_path / "outputs/done/checkpoint.pt")
    left.write_bytes(b"0" * 500)
    before = files(tmp_path)
    said = prune()
    assert files(tmp_path) == before
    assert "3 files of 1 finished runs can go, 2.5 kB. Nothing was removed; add --yes" in said
    assert "Removed, 2.5 kB." in prune("--yes")
    gone = {f"outputs/done/{name}" for name in ("checkpoint.pt", "checkpoint.previous.pt", left.name)}
    assert files(tmp_path) == {name: content for name, content in before.items() if name not in gone}
    assert "nothing can be removed" in prune("--yes")


def test_what_somebody_works_on_or_may_go_on_with_stays(finished, prune, tmp_path):
    finished("unfinished", finish=False)
    finished("running")
    outer = finished("outer", finish=False)
    outer.child("part", from_overrides("stage=baseline"))
    (outer.folder / "part/result.json").write_text("{}")
    (outer.folder / "part/checkpoint.pt").write_bytes(b"0")
    finished("without-weights").folder.joinpath("classifier.safetensors").unlink()
    before = files(tmp_path)
    with claim.claimed(tmp_path / "outputs/running"):
        said = prune("--yes")
    assert files(tmp_path) == before
    for name, why in {
        "unfinished": "is not finished", "running": "a process works there", "outer/part": "the run around it is not finished",
        "without-weights": "its classifier.safetensors is missing",
    }.items():  # fmt: skip
        (line,) = [line for line in said.splitlines() if line.startswith(f"{name} ")]
        assert line.endswith(why)


@pytest.mark.parametrize(
    "key", ["checkpoint={}", "init_from={}", "stage.teacher={}", "method.features={}", "start.json"]
)
def test_what_an_unfinished_run_starts_from_stays(finished, smoke, numbers, prune, tmp_path, key):
    source = finished("pretrain/source").folder
    extra = {"stage.teacher={}": ("stage=distill",), "method.features={}": ("stage=pretrain", "method=exemplar")}
    words = [] if key == "start.json" else [key.format("outputs/pretrain/source")]
    _, run = smoke(*extra.get(key, ("stage=finetune",)), *words, folder="outputs/finetune/other")
    if key == "start.json":
        (run.folder / "start.json").write_text(json.dumps(str(source)))
    said = prune("outputs/pretrain", "--yes")
    assert (source / "checkpoint.pt").exists()
    assert f"an unfinished run starts from it: {run.folder}" in said
    run.finish(numbers())
    prune("outputs/pretrain", "--yes")
    assert not (source / "checkpoint.pt").exists()


def test_a_folder_that_cannot_be_written_into_is_said_and_the_others_are_pruned(finished, prune, monkeypatch):
    finished("a")
    other = finished("b")
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == "checkpoint.pt" and path.parent.name == "a":
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert "Kept: outputs/a: cannot be written into (Permission denied)" in prune("--yes")
    assert not (other.folder / "checkpoint.pt").exists()


def test_links_lead_prune_nowhere(finished, prune, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    finished("one").folder.rename(elsewhere)
    (tmp_path / "outputs/linked").symlink_to(elsewhere)
    own = finished("two").folder
    (own / "checkpoint.pt").unlink()
    (own / "checkpoint.pt").symlink_to(elsewhere / "checkpoint.pt")
    prune("--yes")
    assert (elsewhere / "checkpoint.pt").exists()
    assert (own / "checkpoint.pt").is_symlink()
    assert not (own / "checkpoint.previous.pt").exists()


def test_runs_are_started_from_predicted_with_and_resumed_after_it(smoke, prune, tmp_path, caplog):
    threads = torch.get_num_threads()
    config, run = smoke("stage=pretrain", folder="outputs/pretrain/p")
    pretrain(config, run)
    tuned, classifier = smoke(
        "stage=finetune", "budget.labels=20", "checkpoint=outputs/pretrain/p", folder="outputs/finetune/f"
    )
    finetune(tuned, classifier)
    assert "Removed" in prune("--yes")
    assert not list(tmp_path.rglob("checkpoint.pt"))
    again, other = smoke(
        "stage=finetune", "budget.labels=40", "checkpoint=outputs/pretrain/p", folder="outputs/finetune/g"
    )
    assert finetune(again, other)["labels"] == 40
    caplog.set_level("INFO", "ssl_cli")
    carry_out(tuned, classifier.folder)
    assert "This run was finished already" in caplog.text
    evaluated, evaluation = smoke("stage=evaluate", "stage.run=outputs/finetune/f", folder="outputs/evaluate/e")
    carry_out(evaluated, evaluation.folder)
    assert evaluation.result is not None
    torch.set_num_threads(threads)
