import math

import pytest
import torch

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.errors import ConfigError
from ssl_cli.methods.rotation import Rotation, rotate_quarters
from ssl_cli.randomness import Draws
from ssl_cli.report import plots
from ssl_cli.runs.run import Run
from ssl_cli.stages.networks import pretraining_method
from ssl_cli.stages.pretrain import pretrain


@pytest.fixture
def method() -> Rotation:
    config = from_overrides("method=rotation", "dataset=synthetic", "backbone.width=2", "head=mlp")
    return pretraining_method(config, load(config.dataset))


def test_four_quarter_turns_are_none():
    images, turns = torch.rand(6, 2, 5, 5), torch.tensor([0, 1, 2, 3, 3, 1])
    assert torch.equal(rotate_quarters(images, turns)[1], images[1].rot90(1, (1, 2)))
    back = images
    for _ in range(4):
        back = rotate_quarters(back, turns)
    assert torch.equal(back, images)
    assert torch.equal(rotate_quarters(rotate_quarters(images, turns), -turns % 4), images)


def test_who_cannot_know_pays_the_log_of_four(method):
    for parameter in method.head.layers[-1].parameters():
        torch.nn.init.zeros_(parameter)
    loss, numbers = method.loss((torch.rand(8, 1, 28, 28),), None, Draws(0, "test"))
    assert loss.item() == pytest.approx(math.log(4), abs=1e-6)
    assert (
        numbers["pretext_accuracy"] == 0.25
    )  # the first turn is always named, and every turn is a quarter of the batch


def test_an_input_that_looks_alike_from_four_sides_gets_four_equal_answers(method):
    image = torch.rand(5, 1, 28, 28)
    symmetric = sum(image.rot90(turn, (2, 3)) for turn in range(4)) / 4
    loss, _ = method.loss((symmetric,), None, Draws(0, "test"))
    assert loss >= math.log(4) - 1e-5  # equal answers are as often wrong as right
    assert method.loss((image,), None, Draws(0, "test"))[0] != loss


def test_the_turn_is_learnt_and_pictures_are_turned_back(method):
    upright = torch.zeros(16, 1, 28, 28)
    upright[:, :, :10] = 0.5 + 0.5 * torch.rand(16, 1, 10, 28)  # bright above
    optimiser = torch.optim.Adam(method.parameters(), lr=0.02)
    for _ in range(40):
        optimiser.zero_grad()
        loss, numbers = method.loss((upright,), None, Draws(0, "test"))
        loss.backward()
        optimiser.step()
    assert numbers["pretext_accuracy"] == 1
    answers = method.eval().answers((upright,), Draws(0, "test"))
    assert answers.targets.tolist() == answers.predictions.tolist() == [turn for turn in range(4) for _ in range(16)]
    assert answers.names == ("0°", "90°", "180°", "270°")
    shown = method.pictures((upright,), Draws(0, "test"))
    assert not torch.equal(shown["rotated"], upright)
    assert torch.equal(shown["rotated back"], upright)


def test_the_accuracy_is_logged_and_a_picture_left(smoke):
    config, run = smoke("method=rotation", "stage=pretrain")
    result = pretrain(config, run)
    assert '"pretext_accuracy"' in (run.folder / "metrics.jsonl").read_text()
    assert (run.folder / "pretext.png").exists()
    assert (run.folder / "pretext_confusion.png").exists()
    assert not result["collapsed"]


def test_a_resumed_run_asks_the_same_again(smoke, monkeypatch):
    asked, tables = [], []
    answers = Rotation.answers
    monkeypatch.setattr(
        Rotation, "answers", lambda method, *given: asked.append(given[0][0]) or answers(method, *given)
    )
    monkeypatch.setattr(plots, "save_confusion", lambda counts, *_: tables.append(counts))
    config, run = smoke("method=rotation", "stage=pretrain")
    pretrain(config, run)
    (run.folder / "result.json").unlink()
    torch.manual_seed(99)
    pretrain(config, Run(run.folder, config))
    assert torch.equal(torch.cat(asked[: len(asked) // 2]), torch.cat(asked[len(asked) // 2 :]))
    assert torch.equal(*tables)
    assert tables[0].sum(1).tolist() == [256] * 4  # every turn of every input


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("dataset.facts.shape=[1,28,32]", "method=rotation: inputs of 28×32 change their shape when rotated"),
        (
            "augment.pretrain.affine.rotation=50",
            "affine.rotation=50 makes quarter turns ambiguous; it must be below 45",
        ),
    ],
)
def test_what_cannot_be_turned_is_refused(fitting, override, sentence):
    with pytest.raises(ConfigError, match=sentence):
        fitting("method=rotation", "dataset=synthetic", override)
