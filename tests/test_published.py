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
    said = r"inputs of 50×50 do not fit vit_b_16: .*patches of 16 pixels, such as 48×48 \(dataset\.size=48 for"
    with pytest.raises(ValueError, match=said):
        torchvision((3, 50, 50), "vit_b_16", None)


@pytest.mark.parametrize("model", ["vit_b_32", "vit_l_32"])
def test_weights_for_inputs_of_another_size_name_the_size(tmp_path, model):
    with torch.device("meta"):
        shapes = models.get_model(model, weights=None, image_size=96).state_dict()
    file = tmp_path / "weights.pth"
    torch.save({key: torch.zeros(1).expand(value.shape) for key, value in shapes.items()}, file)
    said = r"weights=.* is for inputs of 96×96 \(dataset\.size=96 for images of a folder\), and these are 64×64$"
    with torch.device("meta"):
        with pytest.raises(ValueError, match=said):
            torchvision((3, 64, 64), model, file)
        assert torchvision((3, 96, 96), model, file).is_published
        with pytest.raises(ValueError, match="weights of another network"):
            torchvision((3, 64, 64), "vit_b_16" if model == "vit_b_32" else "vit_b_32", file)


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


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is an extra: pip install timm")
@pytest.mark.parametrize(
    ("model", "side"),
    [("mixer_s32_224", 224), ("swinv2_cr_tiny_ns_224", 224), ("levit_128s", 224), ("flexivit_small", 240)],
)
def test_timms_networks_for_inputs_of_one_size_name_it(fitting, model, side):
    from ssl_cli.errors import ConfigError

    words = ("stage=baseline", "backbone=timm", f"backbone.model={model}", "augment=natural", "dataset=synthetic")
    said = rf"inputs of 64×64 do not fit {model}; it needs inputs of {side}×{side} \(dataset\.size={side} for images"
    with pytest.raises(ConfigError, match=said):
        fitting(*words, "dataset.facts.shape=[3,64,64]")
    fitting(*words, f"dataset.facts.shape=[3,{side},{side}]")


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is an extra: pip install timm")
@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "beit_base_patch16_224"])
def test_weights_of_timm_for_inputs_of_another_size_name_the_size(tmp_path, model):
    import timm as library

    from ssl_cli.models.backbones.published import timm

    with torch.device("meta"):
        shapes = library.create_model(model, pretrained=False).state_dict()
    file = tmp_path / "weights.pth"
    torch.save({key: torch.zeros(1).expand(value.shape) for key, value in shapes.items()}, file)
    with torch.device("meta"), pytest.raises(ValueError, match=r"is for inputs of 224×224 \(dataset\.size=224"):
        timm((3, 96, 96), model, file)


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is an extra: pip install timm")
def test_a_network_of_timm_that_does_not_say_its_stages_has_one():
    from ssl_cli.models.backbones.published import timm

    with torch.device("meta"):
        assert len(timm((3, 64, 64), "twins_pcpvt_small", None).stages) == 1


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
