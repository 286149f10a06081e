"""What a training says of the time, the disk and the memory that it will take."""

import re
from collections import namedtuple

import pytest
import torch
from metrics_of_runs import read_metrics

from ssl_cli.errors import ConfigError
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.pretrain import pretrain
from ssl_cli.training import outlook

LARGE = ("backbone=small", "backbone.width=32", "schedule.pretrain.max_steps=12", "schedule.pretrain.epochs=9",
         "schedule.pretrain.evaluate_every=0")  # fmt: skip
LABELLED = ("stage=baseline", "budget.labels=40", "backbone=small", "backbone.width=32", "schedule.supervised.max_steps=12",
            "schedule.supervised.epochs=20", "schedule.supervised.batch_size=16")  # fmt: skip
SAID = (
    r"(\d+) steps are left, which take about (\d+) minutes; the run's files about ([\d.]+) MB \(([\d.]+) MB meanwhile\)"
)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def said(monkeypatch, caplog):
    """What is logged, where every training is long enough to be told of."""
    monkeypatch.setattr(outlook, "SAID_FROM", 0.0)
    caplog.set_level("INFO", "ssl_cli")
    return lambda: [message for message in caplog.messages if "steps are left" in message or "suffice" in message]


def megabytes(folder, pattern="*"):
    return sum(path.stat().st_size for path in folder.glob(pattern)) / 1e6


@pytest.mark.parametrize("optimiser", ["sgd", "adamw", "lars"])
def test_a_pretraining_says_what_its_folder_takes(smoke, said, optimiser):
    config, run = smoke("stage=pretrain", *LARGE, f"schedule.pretrain.optimiser.name={optimiser}")
    pretrain(config, run)
    (line,) = said()
    left, _, files, meanwhile = re.match(SAID, line).groups()
    assert int(left) == 12 - outlook.WARM_UP - outlook.FEWEST
    there = megabytes(run.folder)
    assert 0.8 * there < float(files) < 1.2 * there
    assert float(meanwhile) == pytest.approx(3 * megabytes(run.folder, "checkpoint.pt"), rel=0.2)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("schedule.supervised.ema=0.9",),
        ("schedule.supervised.select=best_test", "schedule.supervised.evaluate_every=1"),
    ],
)
def test_a_classifier_says_what_its_folder_takes(smoke, said, words):
    config, run = smoke(*LABELLED, *words)
    finetune(config, run)
    (line,) = said()
    files = float(re.match(SAID, line)[3])
    assert 0.8 * megabytes(run.folder) < files < 1.2 * megabytes(run.folder)


def test_a_short_training_says_nothing(smoke, caplog):
    caplog.set_level("INFO", "ssl_cli")
    config, run = smoke(*LABELLED)
    finetune(config, run)
    assert not any("steps are left" in message for message in caplog.messages)


def test_the_minutes_are_those_of_the_steps(said):
    class Clock:
        seconds = 0.0

    class Machine:
        device = torch.device("cpu")

        def wait(self): ...

    class Network(torch.nn.Linear):
        def __init__(self):
            super().__init__(2, 2)

        backbone = property(lambda self: self)

        def saved(self):
            return {}

    network, clock = Network(), Clock()
    plan = outlook.Outlook(outlook.Path(), network, torch.optim.SGD(network.parameters()), 0, 1000, clock, Machine())
    for step in range(outlook.WARM_UP + outlook.FEWEST):
        clock.seconds += 50.0 if step < outlook.WARM_UP else 6.0  # the first steps are slow, as everywhere
        plan.after_step()
    assert "992 steps are left, which take about 99 minutes" in said()[0]


def test_a_disk_without_room_for_a_checkpoint_is_a_sentence_and_leaves_nothing(smoke, monkeypatch):
    config, run = smoke("stage=pretrain", *LARGE)
    monkeypatch.setattr(outlook.shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 10**6))
    with pytest.raises(
        ConfigError, match=r"hydra\.run\.dir=.*: a checkpoint takes [\d.]+ MB, and 1 MB are free there; free"
    ):
        pretrain(config, run)
    assert read_metrics(run.folder) == []
    assert not list(run.folder.glob("checkpoint*"))


def test_a_disk_that_may_not_suffice_and_memory_that_may_not_are_warned_of(smoke, said, monkeypatch):
    config, run = smoke("stage=pretrain", *LARGE)
    monkeypatch.setattr(outlook.shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 10**7))
    monkeypatch.setattr(outlook, "_free_memory", lambda: 10**6)
    pretrain(config, run)
    disk, _, memory = said()
    assert re.match(
        r"The disk may not suffice: checkpoints take up to another [\d.]+ MB while .* 10 MB are free in /", disk
    )
    assert re.match(r"Memory may not suffice: writing a checkpoint takes another [\d.]+ MB .* 1 MB are free", memory)
