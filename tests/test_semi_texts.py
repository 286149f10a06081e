"""Pseudo-labels and consistency on texts: a weak view is a text's beginning, a strong one a span of it with tokens left out."""

import json

import pytest
import torch

from ssl_cli.stages.semi import semi

CLASSES = {
    "food": ["bread", "butter", "cheese", "apple", "soup", "rice"],
    "cars": ["wheel", "engine", "brake", "motor", "tyre", "road"],
}
NETWORKS = {
    "bag": ("backbone=bag", "backbone.dim=16"),
    "transformer": ("backbone=transformer", "backbone.dim=16", "backbone.layers=1", "backbone.heads=2"),
}
METHODS = {
    "fixmatch": ("stage.method=fixmatch", "stage.fixmatch.threshold=0.6"),
    "uda": ("stage.method=fixmatch", "stage.fixmatch.teacher_input=image", "stage.fixmatch.temperature=0.4",
            "stage.fixmatch.threshold=0.6"),
    "ema_teacher": ("stage.method=fixmatch", "stage.fixmatch.pseudo_labels_from=ema_teacher"),
    "pseudo_label": ("stage.method=pseudo_label",),
}  # fmt: skip


@pytest.fixture
def semi_run(smoke, tmp_path):
    source = torch.Generator().manual_seed(0)

    def text(words: list[str]) -> str:
        picked = torch.randint(len(words), (12,), generator=source).tolist()
        return " ".join(words[number] for number in picked)

    rows = [{"text": text(words), "label": label} for _ in range(120) for label, words in CLASSES.items()]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def carry_out(*words: str) -> dict:
        config, run = smoke(
            "stage=semi", "dataset=texts", f"dataset.root={tmp_path / 'train.jsonl'}", "dataset.tokenizer.vocabulary=350",
            f"dataset.cache={tmp_path / 'cache'}", "augment=text", "budget.labels=4", "head.keep=0",
            "stage.labelled_batch_size=4", *words,
        )  # fmt: skip
        return semi(config, run)

    return carry_out


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_each_method_runs_on_each_network(semi_run, network, method):
    result = semi_run(*NETWORKS[network], *METHODS[method])
    assert result["steps"] == 2
    assert 0 <= result["test_accuracy"] <= 1


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", ["fixmatch", "uda", "pseudo_label"])
def test_each_learns_from_four_labels(semi_run, network, method):
    trained = (
        "schedule=text", "schedule.semi.epochs=40", "schedule.semi.max_steps=null", "schedule.semi.batch_size=32",
        "schedule.semi.evaluate_every=0", "schedule.semi.optimiser.lr=0.01", "stage.fixmatch.momentum=0.9",
    )  # fmt: skip
    result = semi_run(*NETWORKS[network], *METHODS[method], *trained)
    assert result["test_accuracy"] > 0.95
