"""Classes with few labels."""

import pytest
import torch
from torch import nn

from ssl_cli.methods.supervised import Supervised
from ssl_cli.randomness import Draws
from ssl_cli.stages.finetune import finetune

LABELS = torch.tensor([0] * 90 + [1] * 10)


def classifier(how: str) -> Supervised:
    method = Supervised(nn.Identity(), nn.Linear(2, 2), 0.0)
    method.weigh_classes(how, LABELS, 2)
    return method


def loss(method: Supervised, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return method.loss((inputs,), labels, Draws(0, "test"))[0]


def test_balanced_weights_make_both_classes_count_alike():
    method, inputs = classifier("balanced"), torch.randn(100, 2)
    logits = method(inputs)
    each = nn.functional.cross_entropy(logits, LABELS, reduction="none")
    wanted = (each[LABELS == 0].mean() + each[LABELS == 1].mean()) / 2
    torch.testing.assert_close(loss(method, inputs, LABELS), wanted)


def test_logits_are_adjusted_by_the_logarithm_of_shares_in_training_alone():
    method, inputs = classifier("logit_adjusted"), torch.randn(100, 2)
    shares = torch.tensor([0.9, 0.1]).log()
    wanted = nn.functional.cross_entropy(method.head(inputs) + shares, LABELS)
    torch.testing.assert_close(loss(method, inputs, LABELS), wanted)
    torch.testing.assert_close(method(inputs), method.head(inputs))


def test_without_it_nothing_changes_and_no_weights_are_saved():
    method = classifier("none")
    assert method.class_weight is None
    assert method.log_share is None
    for how in ("balanced", "logit_adjusted"):
        assert set(classifier(how).state_dict()) == set(method.state_dict())


@pytest.mark.parametrize("how", ["balanced", "logit_adjusted"])
def test_a_rare_class_is_found_more_often(smoke, tmp_path, how):
    import numpy as np

    source = np.random.default_rng(0)
    for part, sizes in (("train", (300, 20)), ("test", (100, 100))):
        labels = np.repeat([0, 1], sizes)
        brightness = 100 + 25 * labels[:, None, None] + source.normal(0, 18, (len(labels), 1, 1))
        images = np.clip(brightness + source.normal(0, 4, (len(labels), 12, 12)), 0, 255)
        np.save(tmp_path / f"{part}_inputs.npy", images.astype(np.uint8))
        np.save(tmp_path / f"{part}_labels.npy", labels)
    words = (
        "stage=baseline", "dataset=arrays", f"dataset.root={tmp_path}", "augment=none", "budget=all",
        "backbone=small", "backbone.width=4",
        "schedule.supervised.epochs=40", "schedule.supervised.max_steps=150", "schedule.supervised.optimiser.lr=0.01",
    )  # fmt: skip
    found = {}
    for weights in ("none", how):
        result = finetune(*smoke(*words, f"schedule.supervised.class_weights={weights}", folder=weights))
        found[weights] = result["per_class"][1]["accuracy"]
    assert found[how] > found["none"] + 0.1
