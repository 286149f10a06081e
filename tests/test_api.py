"""From Python: finished networks on one's own inputs, and stages."""

import json
import subprocess
import sys
from pathlib import Path

import finished_runs
import numpy as np
import pytest
import torch
from PIL import Image

import ssl_cli
from ssl_cli.errors import ConfigError


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return finished_runs.train_on_pictures(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory) -> Path:
    return finished_runs.train_on_texts(tmp_path_factory.mktemp("texts"))


def test_the_package_is_imported_without_torch(tmp_path):
    program = (
        "import sys, ssl_cli; assert 'torch' not in sys.modules; assert 'load_classifier' in dir(ssl_cli);"
        "ssl_cli.load_classifier; assert 'torch' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'load_clasifier'"):
        ssl_cli.load_clasifier  # noqa: B018


def test_files_pictures_and_arrays_get_the_same_answers(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished_runs.save_pictures(tmp_path / "new", 9)
    paths = sorted((tmp_path / "new").iterdir())
    arrays, labels = finished_runs.pictures(9, 1)
    classify = ssl_cli.load_classifier(trained)
    answers = classify(paths)
    assert answers.classes == ("0", "1", "2")
    assert answers.probabilities.shape == (9, 3)
    assert answers.calibrated
    assert answers.labels == [answers.classes[n] for n in answers.probabilities.argmax(1)]
    assert np.mean([int(label) for label in answers.labels] == labels) > 0.85
    images = [Image.fromarray(array) for array in arrays]
    for same in (list(map(str, paths)), images, list(arrays), arrays[..., None], np.repeat(arrays[..., None], 3, 3)):
        assert np.allclose(classify(same).probabilities, answers.probabilities, atol=1e-6)
    one = classify(paths[0])
    assert one.labels == answers.labels[:1]
    assert classify([]).probabilities.shape == (0, 3)


def test_texts_are_strings(of_texts):
    classify = ssl_cli.load_classifier(str(of_texts))
    texts, labels = zip(*finished_runs.sentences(20, 5), strict=True)
    assert classify(list(texts)).labels == list(labels)
    assert classify(texts[0]).labels == [labels[0]]
    with pytest.raises(ValueError, match="the network takes texts, so strings; one input is a ndarray"):
        classify([np.zeros((3, 3), np.uint8)])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((2, 5, 5), np.uint8), "may be one image or several"),
        ([np.zeros((5, 5))], "must be uint8"),
        ([np.zeros((5, 5, 2), np.uint8)], "must have 1, 3 or 4 channels"),
        ([7], "one input is a int"),
        ("nowhere.png", "nowhere.png: cannot be read"),
    ],
)
def test_what_is_no_image_is_refused(trained, given, said):
    with pytest.raises(ValueError, match=said):
        ssl_cli.load_classifier(trained)(given)


def test_a_backbone_gives_features_and_disturbs_nothing(trained):
    arrays, _ = finished_runs.pictures(5, 2)
    torch.manual_seed(3)
    expected, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(3)
    features_of = ssl_cli.load_backbone(trained)
    features = features_of(list(arrays))
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads
    assert features.shape == (5, features_of.dim)
    assert features.dtype == np.float32
    assert np.ptp(features, axis=0).max() > 0.01


def test_a_folder_that_is_no_classifier_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"run=.*: is no run's folder"):
        ssl_cli.load_classifier(tmp_path)


def test_a_stage_runs_as_the_command_runs_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = (
        "baseline",
        "dataset=synthetic",
        "schedule=smoke",
        "budget.labels=20",
        "backbone.width=4",
        "runtime.threads=1",
    )
    result = ssl_cli.run(*words)
    (path,) = (tmp_path / "outputs" / "baseline").glob("*/result.json")
    assert json.loads(path.read_text()) == result
    assert json.loads((path.parent / "run.json").read_text())["command"] == list(words)
    assert "Test accuracy" in (path.parent / "run.log").read_text()
    with pytest.raises(ConfigError, match=r"budget.lables: no such key"):
        ssl_cli.run("baseline", "budget.lables=5")
    with pytest.raises(ConfigError, match=r"-m: run\(\) takes a stage and overrides"):
        ssl_cli.run("-m", "baseline")
    with pytest.raises(ConfigError, match="add -m"):
        ssl_cli.run("baseline", "seed=1,2")
