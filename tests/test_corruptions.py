import json

import pytest
import torch

from ssl_cli.augment.corruptions import CORRUPTIONS
from ssl_cli.cli.sweep_table import summarise
from ssl_cli.errors import ConfigError
from ssl_cli.randomness import generator
from ssl_cli.report import table
from ssl_cli.stages.compare import compare
from ssl_cli.stages.evaluate import evaluate
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.pretrain import pretrain
from ssl_cli.stages.simclr_v2 import simclr_v2

COLOURED = torch.rand(4, 3, 17, 20, generator=torch.Generator().manual_seed(0))


def corrupted(name: str, strength: float, images: torch.Tensor = COLOURED, seed: int = 0) -> torch.Tensor:
    return CORRUPTIONS[name](images.clone(), strength, generator(seed, "shift"))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_nothing_at_no_strength_grows_with_it_and_stays_in_range(name):
    assert torch.allclose(corrupted(name, 0.0), COLOURED, atol=1e-5)
    distances = [(corrupted(name, strength) - COLOURED).abs().mean() for strength in (0.3, 0.6, 0.9)]
    assert 0 < distances[0] < distances[1] < distances[2]
    strongest = corrupted(name, 1.0)
    assert -1e-6 <= strongest.min() <= strongest.max() <= 1 + 1e-6
    assert strongest.shape == COLOURED.shape


@pytest.mark.parametrize("name", ["noise", "rotation"])
def test_what_is_drawn_depends_on_the_seed_alone(name):
    assert torch.equal(corrupted(name, 0.3), corrupted(name, 0.3))
    assert not torch.allclose(corrupted(name, 0.3), corrupted(name, 0.3, seed=1))


def test_noise_has_its_deviation_and_is_the_same_one_stronger():
    grey = torch.full((8, 1, 50, 50), 0.5)
    weak, strong = corrupted("noise", 0.05, grey) - 0.5, corrupted("noise", 0.1, grey) - 0.5
    assert weak.std().item() == pytest.approx(0.05, rel=0.03)
    assert torch.allclose(2 * weak, strong, atol=1e-6)


def test_contrast_lost_altogether_is_one_grey():
    grey = corrupted("contrast", 1.0)
    assert (grey - grey.mean((1, 2, 3), keepdim=True)).abs().max() < 1e-5
    torch.testing.assert_close(corrupted("contrast", 0.25).std((2, 3)), 0.75 * COLOURED.std((2, 3)))


def test_a_quarter_turn_goes_to_either_side():
    squares = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    turned = corrupted("rotation", 90.0, squares)
    sides = [
        next(k for k in (1, 3) if torch.allclose(now, torch.rot90(before, k, (1, 2)), atol=1e-4))
        for before, now in zip(squares, turned, strict=True)
    ]
    assert set(sides) == {1, 3}


def test_inversion_ends_in_the_negative_and_passes_through_grey():
    torch.testing.assert_close(corrupted("inversion", 1.0), 1 - COLOURED)
    torch.testing.assert_close(corrupted("inversion", 0.5), torch.full_like(COLOURED, 0.5))


def test_blur_keeps_the_mean_of_what_is_far_from_the_edge_even_where_it_is_wider_than_the_input():
    dot = torch.zeros(1, 1, 31, 31)
    dot[0, 0, 15, 15] = 1
    soft = corrupted("blur", 2.0, dot)
    assert soft.sum().item() == pytest.approx(1, abs=1e-3)
    assert soft.max().item() == pytest.approx(1 / (2 * torch.pi * 4), rel=0.02)
    assert corrupted("blur", 9.0, torch.rand(1, 1, 5, 7)).isfinite().all()


def test_a_run_is_tested_at_every_strength_and_clean_as_before(smoke):
    config, trained = smoke(
        "stage=baseline", "budget.labels=40", "schedule.supervised.max_steps=100", "schedule.supervised.epochs=50",
        "augment=none", "augment.scale=2", folder="trained",
    )  # fmt: skip
    tested = finetune(config, trained)
    overrides = (
        "stage=evaluate",
        f"stage.run={trained.folder}",
        "stage.corruptions.noise=[0.001,3]",
        "stage.corruptions.blur=[]",
    )
    result = evaluate(*smoke(*overrides))
    (row,), (one,) = result["rows"], result["runs"]
    assert one["clean"] == tested["test_accuracy"] == result["test_accuracy"] > 0.5
    assert [len(one["corruptions"][name]) for name in result["strengths"]] == [2, 5, 5, 5]
    assert one["corruptions"]["noise"][0] == pytest.approx(one["clean"], abs=0.05)
    assert one["corruptions"]["noise"][1] < 0.5 * one["clean"]
    assert row["corruptions"]["noise"]["mean"] == pytest.approx(sum(one["corruptions"]["noise"]) / 2)
    assert row["corruptions"]["noise"]["lost"] == pytest.approx(one["clean"] - row["corruptions"]["noise"]["mean"])
    assert evaluate(*smoke(*overrides, folder="again"))["rows"] == result["rows"]


def test_a_comparison_has_a_row_an_arm_over_its_seeds_and_pictures(smoke, capsys):
    config, whole = smoke("stage=compare", "stage.seeds=2", "budget.labels=20", folder="whole")
    arms = [row["arm"] for row in compare(config, whole)["rows"]]
    settings, run = smoke("stage=evaluate", f"stage.run={whole.folder}")
    result = evaluate(settings, run)
    assert [row["arm"] for row in result["rows"]] == arms
    assert all(row["seeds"] == [0, 1] and row["clean"]["spread"] is not None for row in result["rows"])
    for name in ("corruptions.png", "inputs.png"):
        assert (run.folder / name).stat().st_size > 3000
    table.show_corruptions(result["rows"], "synthetic")
    said = capsys.readouterr().out
    assert all(arm in said for arm in arms)
    assert all(name in said for name in CORRUPTIONS)
    assert "…" not in said
    assert "±" in said


def test_the_spread_is_that_of_the_seeds():
    runs = [
        {
            "arm": "a",
            "labels": 5,
            "collapsed": seed == 2,
            "seed": seed,
            "clean": 0.9,
            "corruptions": {"noise": accuracies},
        }
        for seed, accuracies in enumerate(([0.2, 0.4], [0.4, 0.8], [0.1, 0.1]))
    ]
    healthy, broken = table.corruption_rows(runs)
    noise = healthy["corruptions"]["noise"]
    assert (healthy["seeds"], broken["seeds"], broken["arm"]) == ([0, 1], [2], "a (collapsed)")
    assert (noise["mean"], noise["lost"]) == (pytest.approx(0.45), pytest.approx(0.45))
    assert noise["spread"] == pytest.approx(0.3 / 2**0.5)
    assert [point["mean"] for point in noise["at"]] == pytest.approx([0.3, 0.6])
    assert broken["clean"]["spread"] is None


def test_other_data_are_a_column_if_they_fit(smoke):
    config, trained = smoke("stage=baseline", "budget.labels=20", folder="trained")
    finetune(config, trained)
    words = ("stage=evaluate", f"stage.run={trained.folder}", "dataset@stage.other=synthetic")
    result = evaluate(*smoke(*words))
    assert result["runs"][0]["corruptions"]["synthetic"] == [result["runs"][0]["clean"]]
    with pytest.raises(
        ConfigError, match=r"dataset@stage\.other=synthetic: has 7 classes and inputs of 1×28×28; stage"
    ):
        evaluate(*smoke(*words, "stage.other.facts.classes=7", folder="misfit"))


def test_what_is_no_finished_classifier_is_refused(smoke, tmp_path):
    config, run = smoke("stage=pretrain", folder="pretrained")
    pretrain(config, run)
    smoke("stage=baseline", "budget.labels=20", folder="unfinished")
    for name, reason in (
        ("pretrained", "is a run of stage=pretrain; it must end in a classifier"),
        ("unfinished", "is not finished; go on with it by resume="),
        ("nowhere", "is no run's folder; it must be that of a finished run or comparison"),
    ):
        with pytest.raises(ConfigError, match=f"stage.run=.*{name}: {reason}"):
            evaluate(*smoke("stage=evaluate", f"stage.run={tmp_path / name}", folder=f"of-{name}"))


def test_a_sweep_of_evaluations_ends_in_one_table(smoke, tmp_path):
    config, trained = smoke("stage=baseline", "budget.labels=20", folder="trained")
    finetune(config, trained)
    for job, strength in enumerate((0.1, 0.9)):
        words = ("stage=evaluate", f"stage.run={trained.folder}", f"stage.corruptions.noise=[{strength}]")
        evaluate(*smoke(*words, folder=f"sweep/{job}"))
    summarise(tmp_path / "sweep")
    rows = json.loads((tmp_path / "sweep/sweep.json").read_text())
    assert [row["arm"] for row in rows] == [
        f"labels only, with augmentation, stage.corruptions.noise=[{strength}]" for strength in (0.1, 0.9)
    ]


def test_a_whole_simclr_v2_keeps_its_big_and_small_networks_apart(smoke):
    config, whole = smoke(
        "stage=simclr_v2", "head=simclr_v2", "budget.labels=20", "stage.student.width=2", folder="whole"
    )
    arms = [row["arm"] for row in simclr_v2(config, whole)["rows"]]
    result = evaluate(*smoke("stage=evaluate", f"stage.run={whole.folder}", "stage.corruptions.noise=[0.1]"))
    assert [row["arm"] for row in result["rows"]] == arms
