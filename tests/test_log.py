"""`ssl-cli log`: the metrics of runs for TensorBoard, and for Weights & Biases without a network."""

import importlib.util
import json

import pytest

from ssl_cli.cli.runs.commands import carry_out_command
from ssl_cli.errors import ConfigError
from ssl_cli.runs.referred import refer

LINES = [
    {"step": 1, "loss": 2.0, "rate": 0.1},
    {"step": 2, "loss": 1.5, "rate": 0.1},
    {"step": 2, "knn_accuracy": 0.25},
]


@pytest.fixture
def trained(smoke, numbers, tmp_path, monkeypatch):
    """A finished run with metrics, and an unfinished one."""
    monkeypatch.chdir(tmp_path)
    for name in ("done", "begun"):
        _, run = smoke("stage=baseline", folder=f"outputs/baseline/{name}")
        (run.folder / "metrics.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in LINES) + '{"step": 3, "lo'
        )
        if name == "done":
            run.finish(numbers(test_accuracy=0.75))
    return tmp_path / "outputs"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs the package tensorboard")
def test_tensorboard_reads_every_number_once_however_often_it_is_written(trained, tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        carry_out_command("log", ["outputs", "--to", "tensorboard"])
    assert "2 runs written. Look at them with: tensorboard --logdir tensorboard" in capsys.readouterr().out
    found = EventAccumulator(str(tmp_path / "tensorboard/baseline/done")).Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 2.0), (2, 1.5)]
    assert [(event.step, event.value) for event in found.Scalars("knn_accuracy")] == [(2, 0.25)]
    assert [(event.step, event.value) for event in found.Scalars("result/test_accuracy")] == [(2, 0.75)]
    settings = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"backbone.width" in settings
    other = EventAccumulator(str(tmp_path / "tensorboard/baseline/begun")).Reload()
    assert set(other.Tags()["scalars"]) == {"loss", "rate", "knn_accuracy"}


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs the package tensorboard")
def test_a_job_of_a_sweep_that_an_earlier_run_answers_is_written_under_its_own_name(trained, tmp_path, capsys):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/multirun.yaml").write_text("{}")
    refer(tmp_path / "sweep/0", trained / "baseline/done", {})
    carry_out_command("log", ["sweep", "--to", "tensorboard"])
    assert "1 run written" in capsys.readouterr().out
    written = [path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.glob("tensorboard/**/events*")]
    assert written == ["tensorboard/0"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="needs the package wandb")
def test_weights_and_biases_keeps_the_numbers_on_this_disk(trained, tmp_path, capsys):
    carry_out_command("log", ["outputs/baseline/done", "--to", "wandb", "--into", "logs"])
    assert "1 run written. Look at them with: wandb sync logs/wandb/offline-run-*" in capsys.readouterr().out
    (path,) = tmp_path.glob("logs/wandb/offline-run-*/run-*.wandb")
    content = path.read_bytes()
    for name in (b"knn_accuracy", b"result/test_accuracy", b"backbone.width", b"baseline"):
        assert name in content


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_missing_package_is_named_with_what_to_install(trained, tmp_path, monkeypatch, package):
    (tmp_path / package).mkdir()  # what an earlier call wrote is no package
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else real(name))
    with pytest.raises(ConfigError) as caught:
        carry_out_command("log", ["outputs", "--to", package])
    assert str(caught.value) == f"--to={package}: needs the package {package}: pip install 'ssl-cli[{package}]'"


def test_runs_without_metrics_and_a_place_that_cannot_be_written_are_refused(trained, smoke, numbers, tmp_path):
    smoke("stage=baseline", folder="others/one")[1].finish(numbers())
    with pytest.raises(ConfigError, match="others: none of its runs has metrics"):
        carry_out_command("log", ["others", "--to", "tensorboard"])
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--into=file: cannot be written into"):
        carry_out_command("log", ["outputs", "--to", "tensorboard", "--into", "file"])
