"""Fine-tuning of a part of the backbone: its last layers, or low-rank matrices beside its weights (LoRA)."""

import copy
import importlib.util
import json

import pytest
import torch
from finished_runs import sentences
from safetensors.torch import load_file
from test_command import assert_same_bytes
from torch import Tensor, nn
from toy_texts import batch_of, some_texts, transformer

from ssl_cli.errors import ConfigError
from ssl_cli.methods.supervised import Supervised
from ssl_cli.models.backbones.published import timm, torchvision
from ssl_cli.models.backbones.resnet import resnet, resnet18
from ssl_cli.models.backbones.small import small
from ssl_cli.models.backbones.vit import VisionTransformer
from ssl_cli.models.last_layers import freeze_all_but_last
from ssl_cli.models.low_rank import add_low_rank, merge_low_rank
from ssl_cli.runs.run import Run
from ssl_cli.stages.compare import compare
from ssl_cli.stages.finetune import finetune
from ssl_cli.training import loop

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


# Runs

LAST, LORA = ("stage.train=last", "stage.layers=2"), ("stage.train=lora", "stage.rank=3", "stage.alpha=6")
LONGER = ("budget.labels=20", "schedule.supervised.epochs=8", "schedule.supervised.max_steps=8")


@pytest.mark.parametrize("words", [LAST, LORA])
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_what_a_run_saves_differs_from_its_start_where_it_was_trained(smoke, words, ema):
    config, run = smoke("stage=finetune", *LONGER, *words, f"schedule.supervised.ema={ema}")
    result = finetune(config, run)
    before, after = (load_file(run.folder / name / "backbone.safetensors") for name in ("pretrain", ""))
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    head = sum(value.numel() for value in load_file(run.folder / "classifier.safetensors").values())
    if words == LAST:
        assert changed == {key for key in before if key.startswith(("stages.2.", "stages.3."))}
        assert result["trained_parameters"] == head + 3 * 3 * (8 * 16 + 16 * 16) + 4 * 16
    else:
        assert changed == {f"stages.{number}.0.weight" for number in range(1, 4)}  # 3 · (4 + 9) is more than 4 · 9
        assert result["trained_parameters"] == head + 3 * (8 + 36 + 16 + 72 + 16 + 144)
    assert result["backbone_parameters"] == sum(v.numel() for k, v in before.items() if k.endswith(("weight", "bias")))


class StoppedError(Exception):
    """Like a power cut."""


@pytest.mark.parametrize("words", [LAST, LORA])
def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(smoke, tmp_path, monkeypatch, words):
    words = ("stage=baseline", *LONGER, *words, "runtime.checkpoint_seconds=0.000001")
    config, whole = smoke(*words, folder="one/whole")
    finetune(config, whole)
    take, taken = loop.take_step, []

    def cut(*given):
        taken.append(1)
        if len(taken) == 5:
            raise StoppedError
        return take(*given)

    config, run = smoke(*words, folder="two/cut")
    monkeypatch.setattr(loop, "take_step", cut)
    with pytest.raises(StoppedError):
        finetune(config, run)
    torch.manual_seed(9)
    finetune(config, Run(run.folder, config))
    assert len(taken) == 5 + 4
    assert_same_bytes(run.folder, whole.folder)


def test_the_first_weights_of_the_matrices_depend_on_the_seed_alone(smoke):
    config, run = smoke("stage=baseline", *LONGER, *LORA)
    torch.manual_seed(1)
    first = finetune(config, run)["train_loss"]
    torch.manual_seed(2)
    assert finetune(*smoke("stage=baseline", *LONGER, *LORA, folder="again"))["train_loss"] == first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stage.rank=4",), r"^stage\.rank=4: is for stage\.train=lora, and stage\.train=all has no use for it"),
        (("stage.train=last", "stage.layers=1", "stage.alpha=2"), r"^stage\.alpha=2: is for stage\.train=lora"),
        (("stage.train=head", "stage.layers=1"), r"^stage\.layers=1: is for stage\.train=last"),
        (("stage.train=last",), r"^stage\.layers=null: stage\.train=last needs the number of layers"),
        (("stage.train=lora",), r"^stage\.rank=null: stage\.train=lora needs the rank"),
        (("stage.train=last", "stage.layers=4"), r"^stage\.layers=4: backbone=small: it has 4 layers; must be at most 3"),
        (("stage.train=lora", "stage.rank=60"), r"^stage\.rank=60: backbone=small: .*must be at most 57$"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stage", ["baseline", "finetune"])
def test_what_cannot_be_trained_is_refused_before_data_are_read(fitting, stage, words, said):
    with pytest.raises(ConfigError, match=said) as refused:
        fitting(f"stage={stage}", "dataset=synthetic", *words)
    assert len(refused.value.problems) == 1


def test_a_bag_has_one_layer_and_nothing_to_stand_beside(fitting):
    facts = "dataset.facts={inputs:300,unlabelled:0,test:60,classes:2,cases:0,vocabulary:300,languages:0}"
    words = ("stage=baseline", "dataset=texts", "augment=text", "backbone=bag", "head=linear", facts)
    with pytest.raises(ConfigError, match=r"^stage\.layers=1: backbone=bag: it is not made of several layers; take"):
        fitting(*words, "stage.train=last", "stage.layers=1")
    with pytest.raises(ConfigError, match=r"^stage\.rank=1: backbone=bag: .*take stage\.train=all, head or last$"):
        fitting(*words, "stage.train=lora", "stage.rank=1")


def test_a_comparison_has_an_arm_for_each_part_that_is_asked_for(smoke, fitting):
    config, run = smoke("stage=compare", "budget.labels=20", "stage.layers=1", "stage.rank=2", "stage.alpha=3")
    rows = [row["arm"] for row in compare(config, run)["rows"]]
    assert rows[3:6] == ["pre-trained, frozen", "pre-trained, last layer", "pre-trained, LoRA of rank 2"]
    text = (run.folder / "seed0" / "pretrained-lora" / "config.yaml").read_text()
    assert all(word in text for word in ("train: lora", "rank: 2", "alpha: 3"))
    for words, said in (
        (("stage.alpha=3",), r"^stage\.alpha=3: is for an arm with LoRA"),
        (("stage.layers=4",), r"^stage\.layers=4: backbone=small: it has 4 layers"),
    ):
        with pytest.raises(ConfigError, match=said):
            fitting("stage=compare", "dataset=synthetic", *words)


def test_published_weights_have_such_arms_too(fitting, tmp_path):
    from torchvision import models

    from ssl_cli.stages.compare import arms

    torch.save(models.shufflenet_v2_x0_5(weights=None).state_dict(), tmp_path / "weights.pth")
    config = fitting(
        "stage=compare", "stage.layers=2", "stage.rank=8", "dataset=cifar10", "augment=natural", "backbone=torchvision",
        "backbone.model=shufflenet_v2_x0_5", f"backbone.weights={tmp_path / 'weights.pth'}",
    )  # fmt: skip
    names = [arm.stage.arm(arm) for _, arm in arms(config)]
    assert [name for name in names if "2 layers" in name or "LoRA" in name] == [
        "published weights, last 2 layers",
        "published weights, LoRA of rank 8",
        "published weights, pre-trained further, last 2 layers",
        "published weights, pre-trained further, LoRA of rank 8",
    ]


@pytest.mark.parametrize("words", [("stage.train=last", "stage.layers=1"), ("stage.train=lora", "stage.rank=2")])
def test_the_command_fine_tunes_and_predicts_texts(cli, tmp_path, words):
    lines = [f"{text}\t{label}" for text, label in sentences(60, 0)]
    (tmp_path / "a.tsv").write_text("\n".join(["text\tlabel", *lines]))
    small = ("backbone=transformer", "backbone.dim=16", "backbone.layers=2", "backbone.heads=2", "backbone.dropout=0.1")
    done = cli(
        "baseline", "dataset=texts", "dataset.root=a.tsv", "dataset.cache=cache", "dataset.tokenizer.vocabulary=300",
        *small, "schedule=smoke", "budget.labels=20", "runtime.threads=1", "hydra.run.dir=run", *words,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Trained: " in done.stdout
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["arm"] == f"random weights, {'last layer' if 'last' in words[0] else 'LoRA of rank 2'}"
    assert 0 < result["trained_parameters"] < result["backbone_parameters"]
    done = cli("predict", "stage.run=run", "stage.inputs=a.tsv", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr


def test_the_command_fine_tunes_exports_and_embeds_images(cli, tmp_path):
    words = ("dataset=synthetic", "schedule=smoke", "runtime.threads=1", "backbone.width=4")
    done = cli("finetune", *words, "stage.train=lora", "stage.rank=2", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    done = cli("export", "stage.run=run", "stage.format=torch_export", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    done = cli("finetune", *words, "stage.train=last", "stage.layers=4", "hydra.run.dir=refused")
    assert (done.returncode, done.stderr.count("\n"), (tmp_path / "refused").exists()) == (2, 1, False)
