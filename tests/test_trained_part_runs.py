"""Runs that fine-tune a part of the backbone: what they save, resume, refuse and compare."""

import json

import pytest
import torch
from finished_runs import sentences
from safetensors.torch import load_file
from test_command import assert_same_bytes
from torch import Tensor

from ssl_cli.data.dataset import load
from ssl_cli.errors import ConfigError
from ssl_cli.runs.run import Run
from ssl_cli.stages.compare import compare
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.networks import fresh_classifier
from ssl_cli.training import step as one_step

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
    take, taken = one_step.take_step, []

    def cut(*given):
        taken.append(1)
        if len(taken) == 5:
            raise StoppedError
        return take(*given)

    config, run = smoke(*words, folder="two/cut")
    monkeypatch.setattr(one_step, "take_step", cut)
    with pytest.raises(StoppedError):
        finetune(config, run)
    torch.manual_seed(9)
    finetune(config, Run(run.folder, config))
    assert len(taken) == 5 + 4
    assert_same_bytes(run.folder, whole.folder)


def test_the_first_matrices_depend_on_the_seed_and_not_on_the_head(fitting):
    def matrices(*words: str) -> list[Tensor]:
        config = fitting("stage=baseline", "dataset=synthetic", *LORA, *words)
        classifier = fresh_classifier(config, load(config.dataset), None)
        return [value for key, value in classifier.backbone.state_dict().items() if key.endswith("down")]

    first, other_head, other_seed = matrices(), matrices("head.classifier.widths=[32,classes]"), matrices("seed=1")
    assert len(first) == 4
    assert all(torch.equal(one, other) for one, other in zip(first, other_head, strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(first, other_seed, strict=True))


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
