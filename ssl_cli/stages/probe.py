"""What each layer knows: a linear classifier and nearest neighbours on its frozen features."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import Config
from ssl_cli.data.batches import Batches
from ssl_cli.data.types import Dataset, Split, as_tensor
from ssl_cli.errors import ConfigError
from ssl_cli.methods.base import Method
from ssl_cli.methods.networks import count_parameters, load_backbone
from ssl_cli.methods.supervised import Supervised
from ssl_cli.models import heads
from ssl_cli.randomness import derived_seed
from ssl_cli.report import plots, table
from ssl_cli.runs.files import quoted
from ssl_cli.runs.finished import origin
from ssl_cli.runs.result import Result
from ssl_cli.runs.run import Run
from ssl_cli.runs.weights import read_weights
from ssl_cli.stages.classifier_results import opened, protocol, training_caveats, watcher
from ssl_cli.stages.feature_maps import save_feature_maps
from ssl_cli.stages.finetune import as_they_are, plain_features
from ssl_cli.stages.fit import note_smaller_batches
from ssl_cli.stages.identity import classifier_identity
from ssl_cli.stages.networks import plain_of, pretraining_method
from ssl_cli.stages.probe_settings import ProbeStage, head_layers, layer_names
from ssl_cli.stages.seen_before import seen_before
from ssl_cli.stages.start import find_or_pretrain
from ssl_cli.training.device import Machine
from ssl_cli.training.evaluate import class_accuracy, knn_accuracy, outputs
from ssl_cli.training.loop import fit

log = logging.getLogger("ssl_cli")


@dataclass(frozen=True)
class Layer:
    """A place where features can be had: its number from 1 on, its name, and the splits with its (N, D) features as inputs."""

    number: int
    name: str
    train: Split
    validation: Split
    test: Split


@dataclass(frozen=True, kw_only=True)
class ProbeResult(Result):
    """Of a probe: `layers` has a row for each layer of random and of pre-trained weights."""

    labels_hash: str
    neighbours: int
    layers: list[dict[str, Any]]
    pretraining: dict[str, Any] | None


def probe(config: Config, run: Run) -> dict[str, Any]:
    """Probe every layer asked for, of random and of pre-trained weights; the numbers of the run.

    Raises:
        ConfigError: the pre-training that is named has another projection head, whose layers are probed too.
    """
    if run.result:
        return run.result
    stage = config.stage_as(ProbeStage)
    here, dataset, chosen = opened(config, run)
    start = find_or_pretrain(config, run, dataset, here)
    labelled, held_out = (
        Split(dataset.train.inputs[items], dataset.train.labels[items]) for items in (chosen.train, chosen.validation)
    )
    batches = _batches(config, labelled)
    asked = config.schedule.supervised.batch_size
    note_smaller_batches("schedule.supervised.batch_size", asked, batches.size, "labels to train on")
    rows: list[dict[str, Any]] = []
    methods = {"random": pretraining_method(config, dataset), "pretrained": _pretrained(config, dataset, start)}
    for weights, method in methods.items():
        names = layer_names(method)
        for layer in _layers(config, here.place(method), names, (labelled, held_out, dataset.test), dataset, here):
            rows.append(
                {
                    "weights": weights,
                    "layer": layer.number,
                    "name": layer.name,
                    "features": as_tensor(layer.test.inputs).shape[1],
                }
            )
            rows[-1] |= _probed(config, run, weights, layer, len(dataset.classes), here)
            log.info(
                "%s weights, %s (%s features): linear %.1f %%, kNN %.1f %%",
                weights, layer.name, f"{as_tensor(layer.test.inputs).shape[1]:,}", 100 * rows[-1]["linear"],
                100 * rows[-1]["knn"],
            )  # fmt: skip
    if not run.is_inside:
        save_feature_maps(config, run.folder, dataset, chosen, start, here)
    plots.save_layers(rows, run.folder / "probe.png")
    last = max(
        (row for row in rows if row["weights"] == "pretrained"), key=lambda row: _is_backbone(row) * row["layer"]
    )
    return run.finish(
        ProbeResult(
            identity=classifier_identity(config, dataset, here, [start]),
            backbone_parameters=count_parameters(methods["pretrained"].backbone),
            labels=len(chosen),
            test_accuracy=last["linear"],
            images_per_second=None,
            environment=here.environment(),
            protocol=_protocol(config),
            caveats=training_caveats(config, batches) + seen_before(dataset, [start]),
            labels_hash=chosen.hash(),
            neighbours=stage.neighbours,
            layers=rows,
            pretraining=origin(start),
        )
    )


def _is_backbone(row: dict[str, Any]) -> bool:
    return row["name"].startswith("backbone")


def _pretrained(config: Config, dataset: Dataset, start: Path) -> Method:
    """The method with the weights of a pre-training.

    Raises:
        ConfigError: it had another projection head, or none, or another backbone.
    """
    method = pretraining_method(config, dataset)
    load_backbone(method.backbone, start, f"checkpoint={config.checkpoint}", dataset)
    if method.head is None:
        return method
    weights = read_weights(start, "head") if (start / "head.safetensors").exists() else {}
    own = method.head.state_dict()
    if {key: value.shape for key, value in weights.items()} != {key: value.shape for key, value in own.items()}:
        raise ConfigError(
            f"checkpoint={config.checkpoint}: was trained with another projection head than method={config.method.name} and "
            f"head={config.head.name} make, and its layers are probed too; give that run's method and head"
        )
    method.head.load_state_dict(weights)
    return method


class _Layers(nn.Module):
    """The features of several layers side by side: (B, …) → (B, sum of their widths)."""

    def __init__(self, method: Method, numbers: list[int]):
        super().__init__()
        self.backbone, self.head, self.numbers = method.backbone, nn.ModuleList(head_layers(method)), numbers
        self.widths: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.backbone.layers(inputs)
        for layer in self.head:
            found.append(layer(found[-1]))
        picked = [found[number - 1] for number in self.numbers]
        self.widths = [features.shape[1] for features in picked]
        return torch.cat(picked, dim=1)


def _layers(
    config: Config,
    method: Method,
    names: list[str],
    splits: tuple[Split, Split, Split],
    dataset: Dataset,
    here: Machine,
) -> list[Layer]:
    """The layers asked for, with their features of the splits to train on, to validate with and to test on."""
    asked = config.stage_as(ProbeStage).layers
    plain = plain_of(config, dataset)
    numbers = list(range(1, len(names) + 1)) if asked == "all" else sorted(set(asked))
    network = _Layers(method, numbers)

    def features(split: Split) -> list[Split]:
        if not len(split):
            return [split] * len(numbers)
        parts = outputs(network, split.inputs, plain, here).split(network.widths, dim=1)
        return [Split(part.contiguous(), split.labels) for part in parts]

    parts = zip(*map(features, splits), strict=True)
    return [Layer(number, names[number - 1], *part) for number, part in zip(numbers, parts, strict=True)]


def _probed(config: Config, run: Run, weights: str, layer: Layer, classes: int, here: Machine) -> dict[str, float]:
    """The test accuracy of both probes of a layer. The linear one trains by `schedule.supervised` in a run of its own."""
    neighbours = config.stage_as(ProbeStage).neighbours
    train, test = layer.train, layer.test
    features = as_tensor(train.inputs)
    voted = knn_accuracy(features, train.labels, as_tensor(test.inputs), test.labels, neighbours)
    torch.manual_seed(derived_seed(config.seed, "classifier"))
    linear = nn.Linear(features.shape[1], classes)
    method = here.place(
        Supervised(
            nn.Identity(),
            nn.Sequential(heads.Standardise(features), linear),
            config.schedule.supervised.label_smoothing,
        )
    )
    phase = config.schedule.supervised
    monitor, select = watcher(phase.select, plain_features, layer.validation, test, here)
    child = run.child(str(Path(weights) / layer.name.replace(" ", "")), config)
    fit(method, _batches(config, train), as_they_are, phase, child, here, config.seed, monitor, select)
    right = class_accuracy(method, test, plain_features, here)
    return {"linear": round(right, 6), "knn": round(voted, 6)}


def _batches(config: Config, split: Split) -> Batches:
    phase = config.schedule.supervised
    return Batches(split.inputs, split.labels, None, phase.batch_size, phase.order, config.seed, phase.steps_per_epoch)


def _protocol(config: Config) -> str:
    said = protocol(config)
    return f"{said}{' a layer' * said.endswith('once')}, and no layer chosen by it"


def closing(result: dict[str, Any], run: Run) -> None:
    """A line a layer."""
    table.show_layers(result)
    place = quoted(run.folder)
    log.info("Checkpoint selection: %s. Picture: %s/probe.png (%.0f s)", result["protocol"], place, result["seconds"])
    for caveat in result["caveats"]:
        log.info("Note: %s.", caveat)


def next_steps(config: Config, result: dict[str, Any], run: Run) -> Iterator[tuple[str, str]]:
    """The number that papers give."""
    if config.budget.kind != "all":
        yield run.command("probe", "budget=all"), "with every label, the usual linear evaluation"
