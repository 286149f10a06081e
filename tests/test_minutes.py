"""`schedule.minutes`: a time becomes a number of steps, once, and says so."""

import pytest

from ssl_cli.config.compose import from_overrides
from ssl_cli.errors import ConfigError
from ssl_cli.runs.run import Run
from ssl_cli.stages import speed
from ssl_cli.stages.automatic import settings_for

TINY = (
    "dataset=synthetic",
    "backbone.width=4",
    "runtime.threads=1",
    "runtime.precision=float32",
    "schedule.pretrain.batch_size=16",
)


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.0)
    speed._measured.clear()


def test_minutes_become_steps_of_pretraining_by_the_speed_here(monkeypatch):
    config = settings_for(*TINY, "stage=pretrain", "schedule.minutes=1")
    (seconds,) = speed._measured.values()
    steps = config.schedule.pretrain.max_steps
    assert steps == pytest.approx(60 / seconds, rel=0.06)
    assert len(str(steps).rstrip("0")) <= 2
    assert config.schedule.minutes is None
    assert config.schedule.pretrain.epochs >= steps
    assert config.schedule.supervised == from_overrides(*TINY).schedule.supervised


def test_without_pretraining_it_is_the_training_on_labels():
    config = settings_for(*TINY, "stage=baseline", "schedule.minutes=1")
    assert config.schedule.supervised.max_steps
    assert config.schedule.pretrain.max_steps is None


def test_the_same_training_gets_the_same_steps_in_one_process():
    words = (*TINY, "stage=pretrain", "schedule.minutes=1")
    assert settings_for(*words) == settings_for(*words)
    settings_for(*words, "budget.labels=50")
    assert len(speed._measured) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["schedule.pretrain.max_steps=5"], "schedule.minutes=2: schedule.pretrain.max_steps=5 says too"),
        (
            ["stage=evaluate", "stage.run=x"],
            "schedule.minutes=2: is for a pre-training, or for a training on labels alone",
        ),
        (["stage=benchmark"], "schedule.minutes=2: stage=benchmark has stage.seconds"),
        (["schedule.pretrain.epochs=5"], "schedule.minutes=2: schedule.pretrain.epochs=5 says too"),
    ],
)
def test_what_says_how_long_twice_or_of_nothing_is_refused(words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        settings_for(*TINY, "schedule.minutes=2", *words)


def test_the_next_command_keeps_the_steps_and_does_not_measure_again(tmp_path, monkeypatch):
    config = settings_for(*TINY, "stage=pretrain", "schedule.minutes=1")
    monkeypatch.setattr("sys.argv", ["ssl-cli", "stage=pretrain", "schedule.minutes=1"])
    said = Run(tmp_path / "run", config).command("compare")
    assert "minutes" not in said
    assert f"schedule.pretrain.max_steps={config.schedule.pretrain.max_steps}" in said
