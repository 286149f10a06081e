"""Published weights as a start: torchvision's and timm's networks. Weights in files are random here; nothing is downloaded."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import models

from ssl_cli.config.compose import from_overrides
from ssl_cli.models.backbones.published import IMAGENET, torchvision

FAMILIES = ["resnet18", "convnext_tiny", "efficientnet_b0", "mobilenet_v3_small", "vit_b_32", "swin_t", "squeezenet1_1"]
FAMILIES += ["regnet_x_400mf", "shufflenet_v2_x0_5", "densenet121", "vgg11_bn", "mnasnet0_5"]


@pytest.mark.parametrize("model", FAMILIES)
def test_features_are_what_the_networks_own_classifier_reads(tmp_path, model):
    torch.manual_seed(0)
    special = {"image_size": 64} if model.startswith("vit") else {}
    original = models.get_model(model, weights=None, **special).eval()
    file = tmp_path / "weights.pth"
    torch.save(original.state_dict(), file)
    seen: list[torch.Tensor] = []
    last = [
        m for m in original.modules() if isinstance(m, torch.nn.Linear if model != "squeezenet1_1" else torch.nn.Conv2d)
    ][-1]
    last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    inputs = torch.rand(2, 3, 64, 64)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in IMAGENET)
    with torch.inference_mode():
        original((inputs - mean) / deviation)
        backbone = torchvision((3, 64, 64), model, file).eval()
        features, layers = backbone(inputs), backbone.layers(inputs)
    wanted = seen[0].mean((2, 3)) if seen[0].ndim == 4 else seen[0]
    torch.testing.assert_close(features, wanted)
    assert features.shape == (2, backbone.dim)
    torch.testing.assert_close(layers[-1], features)
    assert len(layers) == len(backbone.stages) > 1
    assert all(layer.ndim == 2 for layer in layers)
    assert backbone.is_published


def test_grey_images_are_shown_three_times():
    backbone = torchvision((1, 32, 32), "resnet18", None).eval()
    grey = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(grey), backbone(grey.expand(-1, 3, -1, -1)))
    assert not backbone.is_published


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda w: w.pop("layer1.0.conv1.weight"), r"weights of another network; it lacks layer1\.0\.conv1\.weight"),
        (lambda w: w.update(extra=torch.zeros(1)), r"weights of another network; it has extra"),
        (lambda w: w.update({"bn1.weight": torch.zeros(3)}), r"it has bn1\.weight in another shape"),
        (lambda w: w.clear(), r"it lacks conv1\.weight"),
    ],
)
def test_a_file_with_other_weights_is_refused(tmp_path, spoil, said):
    weights = models.resnet18(weights=None).state_dict()
    spoil(weights)
    torch.save(weights, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=said):
        torchvision((3, 64, 64), "resnet18", tmp_path / "weights.pth")


def test_no_file_no_weights_no_model_and_small_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there is no such file"):
        torchvision((3, 64, 64), "resnet18", tmp_path / "weights.pth")
    (tmp_path / "weights.pth").write_text("no weights")
    with pytest.raises(ValueError, match=r"holds no weights"):
        torchvision((3, 64, 64), "resnet18", tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"model=resnet19: must be one of .*resnet18"):
        torchvision((3, 64, 64), "resnet19", None)
    with pytest.raises(ValueError, match=r"sides must be at least 32"):
        torchvision((3, 28, 28), "resnet18", None)
    with pytest.raises(ValueError, match=r"inputs of 50×50 do not fit vit_b_16"):
        torchvision((3, 50, 50), "vit_b_16", None)


def test_without_network_the_sentence_says_which_file_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def offline(url, target):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(
        ValueError, match=r"cannot be downloaded .*put https://.*resnet18.*\.pth at .*checkpoints/resnet18"
    ):
        torchvision((3, 64, 64), "resnet18", "DEFAULT")
    name = models.get_model_weights("resnet18").DEFAULT.url.rpartition("/")[2]
    torch.save(models.resnet18(weights=None).state_dict(), tmp_path / "checkpoints" / name)
    assert torchvision((3, 64, 64), "resnet18", "DEFAULT").is_published


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is an extra: pip install timm")
@pytest.mark.parametrize("model", ["resnet18", "mobilenetv3_small_100", "vit_tiny_patch16_224"])
def test_timms_networks_give_their_pooled_features(tmp_path, model):
    import timm as library

    from ssl_cli.models.backbones.published import timm

    sized = {"img_size": 64} if "vit" in model else {}
    original = library.create_model(model, pretrained=False, **sized).eval()
    torch.save(original.state_dict(), tmp_path / "weights.pth")
    backbone = timm((3, 64, 64), model, tmp_path / "weights.pth").eval()
    inputs = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        normalised = (inputs - backbone.mean) / backbone.deviation
        wanted = original.forward_head(original.forward_features(normalised), pre_logits=True)
        torch.testing.assert_close(backbone(inputs), wanted)
    assert backbone.layers(inputs)[-1].shape == (2, backbone.dim)


def write_photographs(folder: Path) -> Path:
    source = np.random.default_rng(0)
    for part, count in (("train", 60), ("test", 20)):
        np.save(folder / f"{part}_inputs.npy", source.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
        np.save(folder / f"{part}_labels.npy", np.arange(count) % 2)
    return folder


def test_a_comparison_shows_published_weights_beside_the_other_arms(tmp_path, smoke):
    from ssl_cli.stages.compare import compare

    torch.save(models.shufflenet_v2_x0_5(weights=None).state_dict(), tmp_path / "weights.pth")
    words = (
        "dataset=arrays", f"dataset.root={write_photographs(tmp_path)}", "backbone=torchvision",
        "backbone.model=shufflenet_v2_x0_5", "augment=natural", "budget.labels=20",
    )  # fmt: skip
    config, run = smoke("stage=compare", *words, f"backbone.weights={tmp_path / 'weights.pth'}")
    rows = [row["arm"] for row in compare(config, run)["rows"]]
    assert rows == [
        "random weights, frozen",
        "labels only",
        "labels only, with augmentation",
        "published weights, frozen",
        "published weights, fine-tuned",
        "published weights, pre-trained further, frozen",
        "published weights, pre-trained further, same head",
        "published weights, pre-trained further, new head",
    ]
    random = from_overrides(*words, "stage=baseline")
    assert random.stage.arm(random) == "labels only, with augmentation"


def test_pixels_in_another_range_are_refused(tmp_path):
    from ssl_cli.data.dataset import load
    from ssl_cli.errors import ConfigError
    from ssl_cli.stages.fit import check_fit

    config = from_overrides(
        "dataset=arrays", f"dataset.root={write_photographs(tmp_path)}", "backbone=torchvision", "augment=natural",
        "augment.scale=255", "stage=baseline", "budget=all",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"augment\.scale=255: backbone=torchvision wants pixels from 0 to 1"):
        check_fit(config, load(config.dataset))
