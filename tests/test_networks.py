import pytest
import torch
from torch import nn

from ssl_cli import heads
from ssl_cli.backbones.resnet import resnet18
from ssl_cli.backbones.small import small
from ssl_cli.backbones.warfield import warfield
from ssl_cli.config import from_overrides
from ssl_cli.stages.pretrain import count_parameters


def images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("backbone", "shape"),
    [
        (warfield((1, 28, 28)), (1, 28, 28)),
        (warfield((3, 64, 48)), (3, 64, 48)),
        (small((1, 28, 28), 16), (1, 28, 28)),
        (resnet18((3, 32, 32), "auto"), (3, 32, 32)),
        (resnet18((1, 96, 96), "auto"), (1, 96, 96)),
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
