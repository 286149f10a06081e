import pytest
import torch
from torch import nn

from ssl_cli.config.compose import from_overrides
from ssl_cli.methods.networks import count_parameters
from ssl_cli.models import heads
from ssl_cli.models.backbones.resnet import resnet, resnet18, torchvision_names
from ssl_cli.models.backbones.resnet9 import resnet9
from ssl_cli.models.backbones.small import small
from ssl_cli.models.backbones.warfield import warfield


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("backbone", "shape"),
    [
        (warfield((1, 28, 28)), (1, 28, 28)),
        (warfield((3, 64, 48)), (3, 64, 48)),
        (small((1, 28, 28), 16), (1, 28, 28)),
        (resnet9((3, 32, 32), 4), (3, 32, 32)),
        (resnet9((1, 64, 49), 4), (1, 64, 49)),
        (resnet18((3, 32, 32), "auto"), (3, 32, 32)),
        (resnet18((1, 96, 96), "auto"), (1, 96, 96)),
        (resnet((1, 28, 28), 18, 0.25, False, "auto"), (1, 28, 28)),
        (resnet((3, 65, 71), 50, 0.125, True, "auto"), (3, 65, 71)),
    ],
)
def test_a_backbone_gives_its_features_and_those_of_its_layers(backbone, shape):
    inputs = images(2, *shape)
    backbone.eval()
    features = backbone(inputs)
    assert features.shape == (2, backbone.dim)
    layers = backbone.layers(inputs)
    assert len(layers) == len(backbone.stages)
    torch.testing.assert_close(layers[-1], features)


def test_the_articles_backbone_has_32_features_and_its_convolutions():
    assert warfield((1, 28, 28)).dim == 32
    assert count_parameters(warfield((1, 28, 28))) == (9 * 16 + 16) + (9 * 16 * 16 + 16) + (9 * 16 * 32 + 32)


def test_resnet9_has_the_weights_of_its_eight_convolutions_and_one_map_for_every_eighth_pixel():
    backbone = resnet9((3, 32, 32), 64)
    # 9 weights a pair of channels, and two of batch norm a channel; with a classifier of ten classes 6,573,120 (Page, 2018).
    assert count_parameters(backbone) + 512 * 10 == 6_573_120
    assert backbone.maps(images(2, 3, 32, 32)).shape == (2, 512, 4, 4)


@pytest.mark.parametrize(("channels", "parameters"), [(3, 11_168_832), (1, 11_167_680)])
def test_resnet18_with_the_small_stem_is_torchvisions_but_for_the_stem(channels, parameters):
    assert count_parameters(resnet18((channels, 32, 32), "auto")) == parameters


def test_resnet18_equals_torchvisions_with_the_same_weights():
    from torchvision.models import resnet18 as reference

    theirs, ours = reference().eval(), resnet18((3, 224, 224), "imagenet").eval()
    for stage, layer in zip(ours.stages[1:], (theirs.layer2, theirs.layer3, theirs.layer4), strict=True):
        stage.load_state_dict(layer.state_dict())
    first = ours.stages[0]
    for mine, other in ((0, theirs.conv1), (1, theirs.bn1), (4, theirs.layer1)):
        first[mine].load_state_dict(other.state_dict())
    theirs.fc = nn.Identity()
    torch.testing.assert_close(ours(images(1, 3, 224, 224)), theirs(images(1, 3, 224, 224)))


IMAGENET = (3, 224, 224)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ((IMAGENET, 50, 1.0, False, "imagenet"), 23_508_032),
        ((IMAGENET, 50, 1.0, True, "imagenet"), 35_215_584),
        ((IMAGENET, 50, 2.0, False, "imagenet"), 93_907_072),
        ((IMAGENET, 50, 2.0, True, "imagenet"), 140_306_048),
        ((IMAGENET, 152, 3.0, True, "imagenet"), 794_704_160),
        (((3, 32, 32), 18, 1.0, False, "auto"), 11_173_056),
        (((1, 28, 28), 18, 1.0, False, "auto"), 11_171_904),
    ],
)
def test_resnets_have_the_parameters_of_simclr_v2s(settings, parameters):
    with torch.device("meta"):  # counted, not made
        assert count_parameters(resnet(*settings)) == parameters


@pytest.mark.parametrize("depth", [50, 101])
def test_a_resnets_weights_load_into_torchvisions_and_give_the_same_features(depth):
    from torchvision import models

    theirs, ours = getattr(models, f"resnet{depth}")().eval(), resnet(IMAGENET, depth, 1.0, False, "imagenet").eval()
    for module in ours.modules():  # away from their first values, by which blocks would do nothing
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 0.5, 0.1)
    theirs.fc = nn.Identity()
    theirs.load_state_dict(torchvision_names(ours.state_dict()))
    torch.testing.assert_close(ours(images(1, 3, 64, 64)), theirs(images(1, 3, 64, 64)))


def test_blocks_begin_as_their_shortcuts():
    network = resnet((1, 28, 28), 18, 0.25, False, "auto").eval()
    block = network.stages[0].layer1[1]
    inputs = images(2, 16, 8, 8)
    torch.testing.assert_close(block(inputs), inputs)


def test_selective_kernels_need_bottlenecks():
    with pytest.raises(ValueError, match="depth=18 has no bottlenecks"):
        resnet(IMAGENET, 18, 1.0, True, "auto")


def test_simclr_v2s_head_has_its_parameters_and_its_classifier_begins_at_zero():
    settings = from_overrides("head=simclr_v2").head
    with torch.device("meta"):
        assert count_parameters(heads.projection(settings)(inputs=2048)) == 8_659_072
    head = classifier("head=simclr_v2")
    assert len(head.kept) == 1
    assert head(images(4, 32)).abs().max() == 0


def classifier(*overrides: str, classes: int = 10) -> heads.KeptHead:
    head = from_overrides(*overrides).head
    return heads.classifier(head, heads.projection(head)(inputs=32), 32, classes)


@pytest.mark.parametrize(
    ("keep", "kept", "has_classifier"), [(0, 0, True), (1, 1, True), (2, 2, True), ("all", 2, True)]
)
def test_kept_layers_stand_under_a_new_classifier(keep, kept, has_classifier):
    head = classifier("head=simclr", f"head.keep={keep}")
    assert len(head.kept) == kept
    assert isinstance(head.classifier, heads.MLP) == has_classifier
    assert head(images(4, 32)).shape == (4, 10)


@pytest.mark.parametrize("keep", [3, "all"])
def test_a_kept_head_with_one_output_a_class_is_the_classifier(keep):
    head = classifier("head=warfield", f"head.keep={keep}")
    assert isinstance(head.classifier, nn.Identity)
    torch.testing.assert_close(head(images(4, 32)).sum(1), torch.ones(4))


def test_a_kept_middle_of_the_articles_head_gets_a_classifier():
    assert isinstance(classifier("head=warfield", "head.keep=2").classifier, heads.MLP)


def test_kept_layers_train_on():
    head = classifier("head=simclr", "head.keep=1")
    head(images(4, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in head.kept.parameters())


def test_a_saturated_softmax_passes_no_gradient():
    assert heads.saturation(torch.eye(10)) == 0
    assert heads.saturation(torch.tensor([[0.5, 0.5]])) == pytest.approx(1)
