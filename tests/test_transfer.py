import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from metrics_of_runs import read_metrics
from safetensors.torch import load_file

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load, overlap
from ssl_cli.data.types import Dataset, Split
from ssl_cli.errors import ConfigError
from ssl_cli.randomness import Draws
from ssl_cli.runs.run import Run
from ssl_cli.stages import fit, identity
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.identity import pretraining_identity
from ssl_cli.stages.networks import pretraining_method
from ssl_cli.stages.pretrain import material, pretrain
from ssl_cli.training.device import machine

SOURCE = ("method=transfer", "dataset@method.source=synthetic_cases")  # quick to make, and grey like the target

SMALL = ("dataset=synthetic", "schedule=smoke", "runtime.threads=1", "backbone.width=4")


def of(*overrides: str):
    config = from_overrides(*SMALL, *overrides)
    return config, load(config.dataset)


def test_batches_are_the_sources_inputs_with_its_labels_and_no_others(tmp_path):
    config, dataset = of(*SOURCE, "method.source.facts.unlabelled=100", "budget.labels=20", "budget.pretrain_on=rest")
    method, batches, _ = material(config, dataset, Run(tmp_path / "run", config), machine(config.runtime))
    source = load(config.method.arguments["source"]).train
    known = {
        image.numpy().tobytes(): int(label) for image, label in zip(*vars(source).values(), strict=True) if label >= 0
    }
    batch = batches.at(3)
    assert batches.count == 2048  # all that have a label, and none of the 100 that have not
    assert [known[image.numpy().tobytes()] for image in batch.inputs] == batch.labels.tolist()
    assert method.classify.out_features == 10


def test_no_label_and_no_input_of_the_target_reaches_it(smoke, monkeypatch):
    def other(target):
        dataset = load(target)
        noise = torch.randint_like(dataset.train.inputs, 256)
        return replace(dataset, train=Split(noise, torch.full_like(dataset.train.labels, -1)))

    losses = []
    for folder, reads in (("with", load), ("without", other)):
        monkeypatch.setattr(fit, "load", reads)
        config, run = smoke(*SOURCE, "stage=pretrain", "schedule.pretrain.evaluate_every=0", folder=folder)
        losses.append(pretrain(config, run)["loss"])
    assert losses[0] == losses[1]


def test_who_cannot_know_pays_the_log_of_the_sources_classes():
    config, dataset = of("method=transfer")
    method = pretraining_method(config, dataset)
    torch.nn.init.zeros_(method.classify.weight)
    torch.nn.init.zeros_(method.classify.bias)
    loss, numbers = method.loss((torch.rand(8, 1, 28, 28),), torch.arange(8), Draws(0, "test"))
    assert loss.item() == pytest.approx(math.log(26), abs=1e-5)
    assert numbers.keys() == {"pretext_accuracy", "spread"}


def test_the_sources_classes_are_learnt(smoke):
    config, run = smoke(
        *SOURCE, "stage=pretrain", "augment=none", "schedule.pretrain.batch_size=64", "schedule.pretrain.max_steps=30",
        "schedule.pretrain.log_every=10", "schedule.pretrain.optimiser.lr=0.01",
    )  # fmt: skip
    result = pretrain(config, run)
    lines = [line["pretext_accuracy"] for line in read_metrics(run.folder) if "pretext_accuracy" in line]
    assert lines[-1] > max(lines[0], 0.5)
    assert (result["labels"], result["inputs"], result["source"]) == (0, 2048, "synthetic_cases")


def test_inputs_of_other_sides_are_a_source_too_and_fine_tuning_keeps_the_head(smoke):
    config, run = smoke(
        *SOURCE, "method.source.facts.shape=[1,20,24]", "stage=finetune", "budget.labels=20", "head.keep=1"
    )  # fmt: skip
    result = finetune(config, run)
    assert result["pretraining"]["source"] == "synthetic_cases"
    before, after = (load_file(run.folder / name) for name in ("pretrain/head.safetensors", "classifier.safetensors"))
    assert before["layers.0.0.weight"].shape == after["kept.0.0.weight"].shape


def test_another_source_or_other_labels_are_another_pretraining(monkeypatch):
    def hashed(*overrides: str) -> str:
        config, dataset = of("method=transfer", *overrides)
        return pretraining_identity(config, dataset, machine(config.runtime))

    cases = "dataset@method.source=synthetic_cases"
    assert len({hashed(), hashed(cases), hashed(cases, "method.source.facts.cases=100")}) == 3
    before = hashed(cases)

    def relabelled(target):
        dataset = load(target)
        return replace(dataset, train=replace(dataset.train, labels=dataset.train.labels.flip(0)))

    monkeypatch.setattr(identity, "load", relabelled)
    assert hashed(cases) != before


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "dataset@method.source=synthetic",
            "dataset@method.source=synthetic is the target itself, whose labels would leak",
        ),
        (
            "dataset@method.source=cifar10",
            "source=cifar10 has inputs of 3 channels, and the target of 1; they must",
        ),
        (
            "method.source.facts.shape=[1,4,4]",
            "source=letters: inputs of 4×4 do not fit; sides must be at least 5",
        ),
        ("method.source.facts.inputs=none", "method.source.facts.inputs=none: must be a whole number"),
        ("schedule.pretrain.steps_per_epoch=500", "2,652 inputs fill 165 batches of 16"),
    ],
)
def test_a_source_that_does_not_fit_is_refused_before_anything_is_read(
    fitting, source, sentence, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        fitting(*SMALL, "method=transfer", source)
    assert sentence in "\n".join(caught.value.problems)


def test_a_benchmark_says_where_its_source_is_set(fitting):
    with pytest.raises(ConfigError, match=r"dataset@stage\.methods\.transfer\.source=letters is the target itself"):
        fitting("stage=benchmark", "dataset=letters", "budget.labels=52")
    assert fitting("stage=benchmark", "dataset=letters", "budget.labels=52", "~stage.methods.transfer")


def arrays(root, inputs: np.ndarray, labels: np.ndarray) -> tuple[str, ...]:
    root.mkdir()
    for part in ("train", "test"):
        np.save(root / f"{part}_inputs.npy", inputs)
        np.save(root / f"{part}_labels.npy", labels)
    return ("method=transfer", "dataset@method.source=arrays", f"method.source.root={root}")


@pytest.mark.parametrize(
    ("inputs", "label", "sentence"),
    [
        ((40, 28, 28), -1, "dataset@method.source=arrays: no label of its training inputs is known"),
        ((40, 28, 28, 3), 1, "source=arrays has inputs of 3 channels, and the target of 1"),
        ((40, 4, 4), 1, "source=arrays: inputs of 4×4 do not fit; sides must be at least 5"),
    ],
)
def test_a_source_that_only_reading_shows_unfit_is_refused_too(tmp_path, inputs, label, sentence):
    labels = np.full(40, -1) if label < 0 else np.arange(40) % 2
    config, dataset = of(*arrays(tmp_path / "source", np.zeros(inputs, np.uint8), labels))
    if label < 0:
        np.save(tmp_path / "source" / "test_labels.npy", np.arange(40) % 2)
    with pytest.raises(ConfigError, match=sentence):
        material(config, dataset, Run(tmp_path / "run", config), machine(config.runtime))


def test_a_source_that_has_inputs_of_the_target_under_another_name_is_refused(tmp_path):
    config, dataset = of()
    copied = dataset.train.inputs[:20, 0].numpy()
    config, dataset = of(*arrays(tmp_path / "copy", copied, np.arange(20) % 2))
    with pytest.raises(
        ConfigError, match=r"source=arrays: has 6% of the inputs of dataset=synthetic, whose labels would"
    ):
        material(config, dataset, Run(tmp_path / "run", config), machine(config.runtime))


def test_inputs_shared_with_the_test_set_count_as_well():
    one, other = torch.arange(32, dtype=torch.uint8).view(2, 4, 1, 2, 2)
    dataset = Dataset(Split(one, torch.zeros(4)), Split(other, torch.zeros(4)), ("a", "b"))
    assert overlap(dataset, Split(other[:2], torch.zeros(2))) == 0.25
    assert overlap(dataset, Split(one.view(2, 1, 2, 4), torch.zeros(2))) == 0  # inputs of another shape
