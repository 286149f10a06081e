import pytest
import torch
from safetensors.torch import load_file

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.errors import ConfigError
from ssl_cli.runs.run import Run
from ssl_cli.stages.compare import compare
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.identity import pretraining_identity
from ssl_cli.stages.pretrain import material, pretrain
from ssl_cli.training.device import machine

TINY = ("schedule=smoke", "runtime.threads=1", "backbone.width=4", "runtime.precision=float32")


@pytest.fixture
def generic(smoke):
    """The folder of a finished pre-training on other data."""
    config, run = smoke("stage=pretrain", "dataset=synthetic_cases", folder="generic")
    pretrain(config, run)
    return run.folder


@pytest.fixture
def at_first(tmp_path):
    """The method of a pre-training as it begins."""

    def method(*overrides: str):
        config = from_overrides(*TINY, "dataset=synthetic", *overrides)
        run = Run(tmp_path / f"begun{len(list(tmp_path.iterdir()))}", config)
        return material(config, load(config.dataset), run, machine(config.runtime))[0]

    return method


def equal(folder, name: str, module) -> bool:
    weights = load_file(folder / f"{name}.safetensors")
    own = module.state_dict()
    return weights.keys() == own.keys() and all(torch.equal(weights[key], own[key]) for key in own)


def test_it_begins_with_the_weights_and_statistics_of_its_start(generic, at_first):
    begun, fresh = at_first(f"init_from={generic}"), at_first()
    assert equal(generic, "backbone", begun.backbone)
    assert equal(generic, "head", begun.head)
    assert not equal(generic, "backbone", fresh.backbone)


def test_a_head_of_another_shape_is_a_new_one(generic, at_first):
    begun = at_first(f"init_from={generic}", "head=simclr_v2", "head.keep=0")
    fresh = at_first("head=simclr_v2", "head.keep=0")
    assert equal(generic, "backbone", begun.backbone)
    assert all(torch.equal(*pair) for pair in zip(begun.head.parameters(), fresh.head.parameters(), strict=True))


def test_an_ema_teacher_starts_from_there_too(generic, at_first):
    begun = at_first(f"init_from={generic}", "method=byol")
    assert equal(generic, "backbone", begun.teacher[0])
    assert equal(generic, "head", begun.teacher[1])


def test_fine_tuning_makes_it_once_and_says_the_whole_chain(smoke, generic):
    overrides = ("dataset=synthetic_cases", "method=micle", f"init_from={generic}", "stage=finetune")
    found = [finetune(*smoke(*overrides, f"budget.labels={n}", folder=f"outputs/{n}"))["pretraining"] for n in (20, 30)]
    assert found[0]["run_id"] == found[1]["run_id"]  # the second finds what the first made
    assert found[0]["method"] == "micle"
    assert (found[0]["init_from"]["folder"], found[0]["init_from"]["method"]) == (str(generic), "simclr")


def test_every_start_is_another_pretraining(smoke, generic):
    config, run = smoke("stage=pretrain", "dataset=synthetic_cases", "seed=7", folder="other")
    pretrain(config, run)
    starts = ("random", generic, run.folder)
    hashes = set()
    for start in starts:
        config = from_overrides(*TINY, "dataset=synthetic", f"init_from={start}")
        hashes.add(pretraining_identity(config, load(config.dataset), machine(config.runtime)))
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ("backbone.width=5", r"backbone=small: init_from=.*generic was trained with small and its settings"),
        ("augment.scale=2", r"augment\.scale=2: init_from=.*generic was trained with 1"),
        (
            "dataset.facts.shape=[3,28,28]",
            r"init_from=.*: was trained on dataset=synthetic_cases, whose inputs have other colours",
        ),
    ],
)
def test_a_start_of_another_network_is_refused(generic, overrides, sentence, at_first):
    with pytest.raises(ConfigError, match=sentence):
        at_first(f"init_from={generic}", overrides)


def test_a_start_that_is_not_there_is_refused_before_a_comparison_trains(smoke):
    config, run = smoke("stage=compare", "budget.labels=20", "init_from=nowhere")
    with pytest.raises(
        ConfigError, match=r"init_from=.*nowhere: is no run's folder; it must be random or the folder of a pre"
    ):
        compare(config, run)
    assert not list(run.folder.rglob("checkpoint.pt"))


def test_a_start_beside_a_finished_pretraining_is_a_contradiction():
    with pytest.raises(ConfigError, match=r"init_from=.*a: initialises a new pre-training, and checkpoint=.*b is"):
        from_overrides("init_from=a", "checkpoint=b", "stage=finetune")
