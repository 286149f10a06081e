import pytest
import torch

from ssl_cli.data.dataset import load
from ssl_cli.errors import ConfigError
from ssl_cli.stages.fit import check_fit
from ssl_cli.stages.networks import pretraining_method
from ssl_cli.stages.pretrain import pretrain
from ssl_cli.stages.probe import probe
from ssl_cli.training.evaluate import knn_accuracy


def test_every_layer_is_probed_with_random_weights_beside_it(smoke):
    config, run = smoke(
        "stage=probe", "budget.labels=40", "schedule.supervised.max_steps=30", "schedule.supervised.epochs=20"
    )
    result = probe(config, run)
    names = ["backbone 1", "backbone 2", "backbone 3", "backbone 4", "head 1", "head 2"]
    for weights in ("random", "pretrained"):
        rows = [row for row in result["layers"] if row["weights"] == weights]
        assert [row["name"] for row in rows] == names
        assert [row["features"] for row in rows] == [16, 32, 64, 64, 64, 128]
        assert all(row["linear"] > 0.2 and row["knn"] > 0.2 for row in rows)  # ten classes
    last = next(r for r in result["layers"] if r["weights"] == "pretrained" and r["name"] == "backbone 4")
    assert result["test_accuracy"] == last["linear"]
    assert (run.folder / "probe.png").stat().st_size > 5000
    assert probe(config, run) == result


def test_only_layers_asked_for_are_probed_and_must_be_there(smoke):
    config, run = smoke("stage=probe", "budget.labels=20", "stage.layers=[5,2]")
    assert [row["layer"] for row in probe(config, run)["layers"]] == [2, 5, 2, 5]
    config, _ = smoke("stage=probe", "budget.labels=20", "stage.layers=[7]", folder="other")
    with pytest.raises(ConfigError, match=r"stage\.layers=\[7\]: 7 is not there.*have 6 layers \(backbone 1"):
        check_fit(config)


def test_a_checkpoint_for_other_colours_is_refused_by_the_names_of_both_data_sets(smoke):
    config, run = smoke("stage=pretrain", folder="grey")
    pretrain(config, run)
    config, other = smoke(
        "stage=probe",
        "dataset=synthetic_cases",
        "dataset.facts.shape=[3,28,28]",
        f"checkpoint={run.folder}",
        folder="colour",
    )
    with pytest.raises(ConfigError, match=r"dataset=synthetic, .* than those of dataset=synthetic_cases, and need"):
        probe(config, other)


def test_the_last_layer_of_the_backbone_is_its_features(smoke):
    config, _ = smoke("stage=probe")
    dataset = load(config.dataset)
    method = pretraining_method(config, dataset).eval()
    inputs = dataset.test.inputs[:5].float()
    torch.testing.assert_close(method.backbone.layers(inputs)[-1], method.backbone(inputs))


def test_more_queries_than_a_part_vote_the_same():
    source = torch.Generator().manual_seed(0)
    bank, labels = torch.randn(50, 4, generator=source), torch.arange(50) % 3
    queries, wanted = torch.randn(2500, 4, generator=source), torch.randint(0, 3, (2500,), generator=source)
    whole = knn_accuracy(bank, labels, queries, wanted, 5)
    parts = [knn_accuracy(bank, labels, q, w, 5) for q, w in zip(queries.split(100), wanted.split(100), strict=True)]
    assert whole == pytest.approx(sum(parts) / len(parts), abs=1e-6)
