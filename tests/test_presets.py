"""Presets that no test can afford to run: they compose as they stand, and train two steps of everything when made small."""

import pytest

from ssl_cli.config.compose import from_overrides
from ssl_cli.config.trust import settings_folder
from ssl_cli.data.dataset import load
from ssl_cli.stages.compare import compare
from ssl_cli.stages.networks import views_of
from ssl_cli.stages.probe import probe
from ssl_cli.stages.semi import semi
from ssl_cli.stages.simclr_v2 import simclr_v2

STAGES = {"compare": compare, "probe": probe, "semi": semi, "simclr_v2": simclr_v2}
SMALL = (
    "dataset.facts.inputs=40", "dataset.facts.test=10", "augment.pretrain.blur.kernel=3", "runtime.threads=1",
    *(f"schedule.{name}.max_steps=2" for name in ("pretrain", "supervised", "distill")),
    *(f"schedule.{name}.batch_size=4" for name in ("pretrain", "supervised", "distill")),
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.stem for path in (settings_folder() / "experiment").glob("*.yaml")))
def test_every_preset_composes(name):
    assert from_overrides(f"experiment={name}")


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("simclr_cifar10", ["dataset.facts.shape=[3,32,32]"]),
        ("simclr_imagenet", ["dataset.facts.shape=[3,64,64]", "backbone.width=0.125"]),
        (
            "simclr_v2_imagenet",
            ["dataset.facts.shape=[3,64,64]", "backbone.width=0.125", "backbone.depth=50", "stage.student.width=0.125",
             "budget.fraction=0.5", "method.negatives.queue=16"],
        ),
    ],
)  # fmt: skip
def test_the_papers_settings_train_two_steps_on_synthetic_photographs(smoke, name, overrides):
    backbone = "resnet18" if "cifar" in name else "resnet"
    config, run = smoke(
        f"experiment={name}", "dataset=synthetic", "schedule=standard", f"backbone={backbone}", *SMALL, *overrides
    )
    result = STAGES[config.stage.name](config, run)
    assert 0 <= result["test_accuracy"] <= 1


def test_the_preset_for_photographs_pretrains_on_views_of_twenty_pixels(smoke):
    words = ("experiment=photographs", "dataset=synthetic", "dataset.facts.shape=[3,32,32]", "schedule=standard")
    config, run = smoke(*words, *SMALL, "budget.labels=20")
    views = views_of(config, load(config.dataset), "pretrain")
    assert views.size_of(32, 32) == (20, 20)
    result = STAGES[config.stage.name](config, run)
    assert config.backbone.name == "resnet9"
    assert "pre-trained, same head" in {row["arm"] for row in result["rows"]}


def test_the_preset_of_fixmatch_for_photographs_shows_things_as_large_as_they_are_tested(smoke):
    words = (
        "experiment=photographs_fixmatch",
        "dataset=synthetic",
        "dataset.facts.shape=[3,32,32]",
        "schedule=standard",
    )
    config, run = smoke(*words, *SMALL, "budget.labels=20", "schedule.semi.batch_size=16", "schedule.semi.max_steps=2")
    dataset = load(config.dataset)
    assert views_of(config, dataset, "pretrain").size_of(32, 32) == (20, 20)
    assert views_of(config, dataset, "supervised").size_of(32, 32) == (26, 26)
    result = STAGES[config.stage.name](config, run)
    assert (result["arm"], result["backbone"]) == ("FixMatch, from pre-trained weights", "resnet9")
