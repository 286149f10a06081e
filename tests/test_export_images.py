"""A network for images goes out as one file that gives what the run's own network gives."""

import importlib.util
import json
from pathlib import Path

import finished_runs
import numpy as np
import pytest
import torch
from safetensors import safe_open

import ssl_cli
from ssl_cli.config.compose import from_overrides
from ssl_cli.errors import ConfigError
from ssl_cli.runs.run import Run
from ssl_cli.stages import export_images
from ssl_cli.stages.export import export

HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return finished_runs.train_on_pictures(tmp_path_factory.mktemp("images"), "augment.scale=2")


@pytest.fixture
def exported(tmp_path):
    def make(run: Path, *overrides: str) -> tuple[dict, Path]:
        config = from_overrides("stage=export", f"stage.run={run}", *overrides)
        folder = tmp_path / "exported"
        return export(config, Run(folder, config)), folder

    return make


def pixels() -> tuple[np.ndarray, torch.Tensor]:
    images, _ = finished_runs.pictures(5, 3)
    return images, torch.from_numpy(images)[:, None].float() / 255


def test_safetensors_has_all_that_rebuilds_the_network(trained, exported):
    result, folder = exported(trained)
    assert result["exported"] == "model.safetensors"
    with safe_open(str(folder / "model.safetensors"), "pt") as file:
        about = {name: json.loads(value) for name, value in file.metadata().items()}
        names = set(file.keys())
    assert about["classes"] == ["0", "1", "2"]
    assert about["inputs"] == {"height": 12, "width": 12, "channels": 1, "fit": "crop"}
    assert about["pixels"]["scale"] == 2
    assert about["backbone"]["width"] == 4
    assert {name.partition(".")[0] for name in names} == {"backbone", "head"}
    assert result["network"]["bytes"] == (folder / "model.safetensors").stat().st_size
    assert result["network"]["milliseconds"] > 0


def test_torch_export_gives_the_probabilities_of_predictions(trained, exported):
    images, given = pixels()
    _, folder = exported(trained, "stage.format=torch_export")
    network = torch.export.load(folder / "model.pt2").module()
    answers = ssl_cli.load_classifier(trained, device="cpu")(list(images))
    for some in (given, given[:1]):
        expected = answers.probabilities[: len(some)]
        assert np.allclose(network(some).softmax(1).detach().numpy(), expected, atol=1e-4)


def test_a_pretraining_gives_features(tmp_path, exported):
    run = finished_runs.train_on_pictures(tmp_path / "pretrained", "stage=pretrain")
    images, given = pixels()
    result, folder = exported(run, "stage.format=torch_export")
    features = torch.export.load(folder / "model.pt2").module()(given)
    assert np.allclose(features.detach().numpy(), ssl_cli.load_backbone(run, device="cpu")(list(images)), atol=1e-4)
    assert result["network"]["gives"] == f"{features.shape[1]} features"


@pytest.mark.skipif(not HAS_ONNX, reason="needs onnx, onnxscript and onnxruntime")
def test_onnx_gives_the_probabilities_of_predictions(trained, exported):
    import onnxruntime

    images, given = pixels()
    result, folder = exported(trained, "stage.format=onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    logits = torch.from_numpy(session.run(["logits"], {"pixels": given.numpy()})[0])
    expected = ssl_cli.load_classifier(trained, device="cpu")(list(images)).probabilities
    assert np.allclose(logits.softmax(1).numpy(), expected, atol=1e-4)
    assert result["network"]["largest_difference"] < 1e-4


def test_a_file_with_other_numbers_is_refused(trained, exported, monkeypatch):
    def wrong(network, example, trained):
        return b"", lambda: lambda pixels: network(pixels) + 0.01

    monkeypatch.setitem(export_images.WRITERS, "safetensors", wrong)
    with pytest.raises(ConfigError, match=r"gives other numbers than the network, by up to 0\.01"):
        exported(trained)


def test_missing_packages_and_formats_that_do_not_fit_are_one_sentence(trained, tmp_path, exported, monkeypatch):
    with pytest.raises(ConfigError, match="was trained with backbone=small; the library transformers has"):
        exported(trained, "stage.format=huggingface")
    own = __import__

    def without(name, *more):
        if name == "onnxscript":
            raise ImportError(name)
        return own(name, *more)

    monkeypatch.setattr("builtins.__import__", without)
    with pytest.raises(ConfigError, match=r"needs the packages onnxscript: pip install 'ssl-cli\[onnx\]'"):
        export_images._require_packages("onnx")


def test_texts_have_their_own_format(tmp_path, exported):
    run = finished_runs.train_on_texts(tmp_path / "texts")
    with pytest.raises(ConfigError, match=r"stage.format=onnx: is for networks of images"):
        exported(run, "stage.format=onnx")


@pytest.mark.parametrize("word", ["dataset=letters", "schedule.pretrain.max_steps=3", "backbone=vit", "seed=1"])
def test_settings_that_come_from_the_run_are_refused(trained, word):
    said = rf"^{word}: stage=export takes data, network and preprocessing from the run in stage\.run; leave it out$"
    with pytest.raises(ConfigError, match=said):
        from_overrides("stage=export", f"stage.run={trained}", word)
    from_overrides("stage=export", f"stage.run={trained}", "outputs=elsewhere", "stage.heads=false")
