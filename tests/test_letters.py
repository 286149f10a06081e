import pytest
import torch

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.data.images import letters as source
from ssl_cli.errors import ConfigError


@pytest.fixture(scope="module")
def data():
    return load(from_overrides("dataset=letters").dataset)


def test_every_class_has_both_cases_of_every_face(data):
    assert data.shape == (1, 28, 28)
    assert torch.bincount(data.train.labels).tolist() == [len(source.TRAIN) * 3 * 2] * 26
    assert torch.bincount(data.test.labels).tolist() == [len(source.TEST) * 3 * 2] * 26
    assert data.classes[data.train.labels[0]] == data.classes[data.train.labels[26]] == "A"  # a, then A


def test_no_test_letter_was_seen_in_training(data):
    train, test = ({image.numpy().tobytes() for image in split.inputs} for split in (data.train, data.test))
    assert not train & test


def test_a_letter_fills_its_box_around_its_centre_of_mass_as_digits_do(data):
    ink = data.train.inputs[:, 0].double()
    tall, wide = ((ink.amax(axis) > 0).sum(1) for axis in (2, 1))
    longer = torch.maximum(tall, wide)
    assert longer.max() == 20
    assert longer.min() >= 18  # the finest tips fade away
    place = torch.arange(28.0, dtype=torch.float64)
    for axis in (2, 1):
        centre = ink.sum(axis) @ place / ink.sum((1, 2))
        assert (centre - 13.5).abs().quantile(0.98) < 0.6  # of a pixel, by rounding, but for some that would not fit


def test_capitals_are_no_small_letters_and_faces_are_no_copies(data):
    faces = data.train.inputs.view(len(source.TRAIN), 3, 52, -1)
    a = {image.numpy().tobytes() for image in faces[:, :, 0].flatten(0, 1)}
    capital = {image.numpy().tobytes() for image in faces[:, :, 26].flatten(0, 1)}
    assert len(a) == len(capital) == len(source.TRAIN) * 3
    assert not a & capital
    assert (faces[:, 1:].sum((2, 3), dtype=torch.int64) > faces[:, :-1].sum((2, 3), dtype=torch.int64)).all()  # heavier


def test_a_missing_font_is_named_with_a_way_out(monkeypatch):
    monkeypatch.setattr(source, "TEST", ("NoSuchFace",))
    with pytest.raises(ConfigError, match=r"dataset=letters: .*NoSuchFace\.ttf is missing; pip install"):
        source.letters(None)
