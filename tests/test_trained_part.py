"""Fine-tuning of a part of the backbone: its last layers, or low-rank matrices beside its weights (LoRA)."""

import copy
import importlib.util

import pytest
import torch
from torch import Tensor, nn
from toy_texts import batch_of, some_texts, transformer

from ssl_cli.methods.supervised import Supervised
from ssl_cli.models.backbones.published import timm, torchvision
from ssl_cli.models.backbones.resnet import resnet, resnet18
from ssl_cli.models.backbones.small import small
from ssl_cli.models.backbones.vit import VisionTransformer
from ssl_cli.models.last_layers import freeze_all_but_last
from ssl_cli.models.low_rank import add_low_rank, merge_low_rank

SHAPE = (3, 32, 32)
IMAGES = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))
TEXTS = batch_of(some_texts(4))
HAS_TIMM = importlib.util.find_spec("timm") is not None
OF_TIMM = pytest.mark.skipif(not HAS_TIMM, reason="timm is an extra: pip install timm")

BACKBONES = {  # with what inputs, and where its last two layers begin
    "small": (lambda: small(SHAPE, 8), IMAGES, "stages.2."),
    "resnet18": (lambda: resnet18(SHAPE, "auto"), IMAGES, "stages.2."),
    "resnet": (lambda: resnet(SHAPE, 50, 0.125, True, "auto"), IMAGES, "stages.2."),
    "vit": (lambda: VisionTransformer(SHAPE, 8, 24, 3, 2, 2.0), IMAGES, "stages.1."),
    "transformer": (lambda: transformer(layers=3), TEXTS, "stages.1."),
    "torchvision, convolutions": (lambda: torchvision(SHAPE, "resnet18", None), IMAGES, "network.layer3."),
    "torchvision, vit": (lambda: torchvision(SHAPE, "vit_b_16", None), IMAGES, "network.encoder.layers.encoder_layer_10."),
    "torchvision, swin": (lambda: torchvision(SHAPE, "swin_t", None), IMAGES, "network.features.6."),
}  # fmt: skip
OTHERS = {
    "timm, convolutions": (lambda: timm(SHAPE, "mobilenetv3_small_100", None), IMAGES, "network.blocks.2."),
    "timm, vit": (lambda: timm(SHAPE, "vit_tiny_patch16_224", None), IMAGES, "network.blocks.10."),
}
EACH = [*BACKBONES, *(pytest.param(name, marks=OF_TIMM) for name in OTHERS)]


def made(name: str) -> tuple[nn.Module, object, str]:
    torch.manual_seed(0)
    make, inputs, first = (BACKBONES | OTHERS)[name]
    return make(), inputs, first


def step(backbone: nn.Module, inputs, still: list[nn.Module]) -> None:
    """One step of training, with some modules in evaluation mode."""
    classifier = Supervised(backbone, nn.Linear(backbone.dim, 2), 0.0)
    classifier.keep_in_evaluation(still)
    classifier.train()
    optimiser = torch.optim.SGD([p for p in classifier.parameters() if p.requires_grad], lr=0.1)
    classifier.loss((inputs,), torch.tensor([0, 1, 0, 1]), None)[0].backward()
    optimiser.step()


@pytest.mark.parametrize("name", EACH)
def test_only_the_last_layers_and_what_is_behind_them_change(name):
    backbone, inputs, first = made(name)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    step(backbone, inputs, freeze_all_but_last(backbone, 2))
    keys = list(before)
    place = next(number for number, key in enumerate(keys) if key.startswith(first))
    changed = {key for key, value in backbone.state_dict().items() if not torch.equal(value, before[key])}
    learnt = {key for key, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert changed
    assert changed <= set(keys[place:])  # neither weights nor the running statistics of batch norm
    assert learnt == {key for key in keys[place:] if key in dict(backbone.named_parameters())}
    assert all(parameter.grad is None for parameter in backbone.parameters() if not parameter.requires_grad)


def test_dropout_stays_off_in_layers_that_are_frozen():
    backbone = transformer(layers=2, dropout=0.5)
    classifier = Supervised(backbone, nn.Linear(backbone.dim, 2), 0.0)
    classifier.keep_in_evaluation(freeze_all_but_last(backbone, 1))
    for layer in (classifier.train(), copy.deepcopy(classifier).train()):
        first, last = layer.backbone.stages
        assert (layer.backbone.dropout.training, first.training, last.training) == (False, False, True)
    assert not any(module.training for module in classifier.eval().modules())


@pytest.mark.parametrize("name", EACH)
def test_low_rank_matrices_change_nothing_at_first_and_merge_into_an_ordinary_backbone(name):
    backbone, inputs, _ = made(name)
    own = copy.deepcopy(backbone).state_dict()
    first = features(backbone, inputs)
    still = add_low_rank(backbone, 2, 4.0)
    torch.testing.assert_close(features(backbone, inputs), first, atol=1e-5, rtol=1e-5)
    step(backbone, inputs, still)
    for key, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            assert key.endswith(("down", "up"))
            assert parameter.grad is not None
            nn.init.normal_(parameter, std=0.05)
    unmerged = features(backbone, inputs)
    merge_low_rank(backbone)
    merged = features(backbone, inputs)
    assert float((merged - unmerged).abs().max()) < 1e-5 * float(unmerged.abs().max())
    assert float((merged - first).abs().max()) > 1e-3 * float(first.abs().max())
    assert backbone.state_dict().keys() == own.keys()
    made(name)[0].load_state_dict(backbone.state_dict())
    unchanged = {key for key, value in backbone.state_dict().items() if torch.equal(value, own[key])}
    assert {key for key in own if "bias" in key or "running" in key or "norm" in key} - unchanged == set()


@torch.no_grad()
def features(backbone: nn.Module, inputs) -> Tensor:
    return backbone.eval()(inputs)


def test_matrices_have_the_sides_of_the_weights_beside_them():
    backbone = small((1, 28, 28), 16)  # 16×9, 32×144, 64×288, 64×576
    add_low_rank(backbone, 3, 3.0)
    learnt = sum(parameter.numel() for parameter in backbone.parameters() if parameter.requires_grad)
    assert learnt == 3 * (16 + 9 + 32 + 144 + 64 + 288 + 64 + 576)
    wide = small((1, 28, 28), 16)
    add_low_rank(wide, 6, 6.0)  # (16 + 9) · 6 is more than 16 · 9
    assert sum(p.numel() for p in wide.parameters() if p.requires_grad) == 6 * (32 + 144 + 64 + 288 + 64 + 576)


def test_alpha_over_rank_is_what_the_product_counts():
    layer = nn.Sequential(nn.Linear(8, 6, bias=False))
    weight = layer[0].weight.detach().clone()
    add_low_rank(layer, 2, 6.0)
    low = layer[0].parametrizations.weight[0]
    nn.init.normal_(low.up)
    wanted = weight + 3 * low.up @ low.down
    torch.testing.assert_close(layer[0].weight, wanted)  # as others read it
    torch.testing.assert_close(layer(torch.eye(8)), wanted.T)  # as it is called


def test_a_copy_learns_apart_from_the_layer_that_it_is_of():
    """torch.compile is tried on a copy."""
    layer = nn.Sequential(nn.Linear(8, 6))
    add_low_rank(layer, 1, 1.0)
    other = copy.deepcopy(layer)
    nn.init.ones_(other[0].parametrizations.weight[0].up)
    assert not torch.equal(other(torch.eye(8)), layer(torch.eye(8)))
    merge_low_rank(other)
    assert type(layer[0]).__name__ == "ParametrizedLinear"
