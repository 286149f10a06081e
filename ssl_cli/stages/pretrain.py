"""Pre-training: every training input, no labels."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_cli.config.consistency import pairs
from ssl_cli.config.schema import Config
from ssl_cli.config.words import for_hydra
from ssl_cli.data.batches import Batches, CaseBatches, PartnerBatches
from ssl_cli.data.budget import unlabelled_items
from ssl_cli.data.dataset import labelled, overlap
from ssl_cli.data.language_sampling import held_out
from ssl_cli.data.types import UNKNOWN, Dataset, Split, as_texts
from ssl_cli.errors import ConfigError
from ssl_cli.methods.base import Method
from ssl_cli.methods.networks import count_parameters
from ssl_cli.report import curves, pictures
from ssl_cli.runs.files import quoted, short
from ssl_cli.runs.finished import origin, settings_of
from ssl_cli.runs.result import Result
from ssl_cli.runs.run import Run
from ssl_cli.stages.fit import check_views, note_smaller_batches, open_dataset
from ssl_cli.stages.identity import pretraining_identity
from ssl_cli.stages.inputs import save_inputs
from ssl_cli.stages.networks import plain_of, pretraining_method, views_of
from ssl_cli.stages.sources import source_at
from ssl_cli.stages.text_pictures import save_lengths, save_nearest
from ssl_cli.training.device import Machine, machine_of
from ssl_cli.training.evaluate import knn_monitor
from ssl_cli.training.loop import fit
from ssl_cli.training.perplexity import perplexity_monitor
from ssl_cli.training.state import COLLAPSED, Monitor
from ssl_cli.training.surrogates import surrogate_classes

log = logging.getLogger("ssl_cli")

PretrainBatches = Batches | CaseBatches | PartnerBatches

SHARED = 0.01  # of the target's inputs in a source of labels are an accident; more are a leak


@dataclass(frozen=True, kw_only=True)
class PretrainResult(Result):
    """Of a pre-training.

    source: the data set whose labels it learnt from; init_from: what the pre-training that it went on from was.
    inputs: it was trained on; spread: of the embeddings, below `COLLAPSED` where they are all alike.
    knn_accuracy: of the frozen backbone, by training labels, for display only.
    perplexity: of held-out texts, overall and by language, where the method is a language model.
    compile: whether torch.compile was used, and why.
    """

    method: str
    source: str | None
    inputs: int
    init_from: dict[str, Any] | None
    surrogate_classes: int | None
    steps: int
    epochs: float
    loss: float
    spread: float | None
    collapsed: bool
    knn_accuracy: float | None
    perplexity: dict[str, float] | None
    compile: dict[str, Any]


def pretrain(config: Config, run: Run) -> dict[str, Any]:
    """Train the backbone and the projection head; the numbers of the run."""
    if run.result:
        return run.result
    start = check_sources(config)
    here = machine_of(run, config.runtime)
    dataset = open_dataset(config, run)
    method, batches, views = material(config, dataset, run, here)
    source = None if method.source is None else config.method.arguments["source"].name
    phase = config.schedule.pretrain
    parameters = count_parameters(method.backbone)
    log.info(
        "Pre-training with %s: %s (%s parameters) from %s, %s of %s, on %s → %s",
        config.method.name, config.backbone.name, f"{parameters:,}", short(start) if start else "random weights",
        f"{batches.count:,} inputs", f"{source} with their labels" if source else f"{config.dataset.name}, no labels",
        here.described(), short(run.folder),
    )  # fmt: skip
    classes = batches.labels if method.source is None and isinstance(batches, Batches) else None
    found: int | None = None
    if classes is not None:
        sizes = classes[classes != UNKNOWN].unique(return_counts=True)[1]
        found = len(sizes)
        log.info("Surrogate classes: %s, of %s to %s inputs", f"{found:,}", int(sizes.min()), int(sizes.max()))
        pictures.save_classes(dataset, views, classes, config.seed, run.folder / "classes.png")
    shown = batches.at(0)
    pictures.save_views(shown, views, method.n_views, config.seed, run.folder / "views.png")
    save_lengths(config, dataset, run)
    monitor = _monitor(config, dataset, method, here) if phase.evaluate_every else None
    fitted = fit(method, batches, views, phase, run, here, config.seed, monitor)
    # Texts that were held out are never lost unmeasured.
    measured = fitted.last if monitor else _held_out_monitor(config, dataset, method, here)(method)

    run.save_weights("backbone", method.backbone)
    save_inputs(run, dataset)
    for name, layers in method.saved().items():
        run.save_weights(name, layers)
    curves.save_curves(run.folder, run.folder / "curves.png")
    pictures.save_pretext(shown.inputs, views, method, config.seed, here, run.folder / "pretext.png")
    pictures.save_answers(dataset, views, method, config.seed, here, run.folder / "pretext_confusion.png")
    save_nearest(config, dataset, method.backbone, here, run)
    spread = fitted.last.get("spread")
    return run.finish(
        PretrainResult(
            identity=pretraining_identity(config, dataset, here),
            backbone_parameters=parameters,
            labels=0,
            test_accuracy=None,
            images_per_second=round(fitted.inputs_per_second, 1),
            environment=here.environment(),
            method=config.method.name,
            source=source,
            inputs=batches.count,
            init_from=origin(start),
            surrogate_classes=found,
            steps=fitted.steps,
            epochs=round(fitted.epochs, 3),
            loss=fitted.last["loss"],
            spread=spread,
            collapsed=spread is not None and spread < COLLAPSED,
            knn_accuracy=fitted.last.get("knn_accuracy"),
            perplexity={key: value for key, value in measured.items() if key.startswith("held_out_")} or None,
            compile=fitted.compile,
        )
    )


def _monitor(config: Config, dataset: Dataset, method: Method, here: Machine) -> Monitor:
    """What is watched meanwhile: the neighbours of features, and of a language model the perplexity of held-out texts."""
    neighbours = knn_monitor(dataset.train, dataset.cases, plain_of(config, dataset), here, config.seed)
    perplexity = _held_out_monitor(config, dataset, method, here)
    return lambda method: neighbours(method) | perplexity(method)


def _held_out_monitor(config: Config, dataset: Dataset, method: Method, here: Machine) -> Monitor:
    """The perplexity of the texts that are held out; nothing where none are."""
    known = dataset.vocabulary
    if not method.held_out or known is None:
        return lambda _: {}
    _, apart = _apart(config, dataset, method)
    plain = views_of(config, dataset, "pretrain").plain
    return perplexity_monitor(dataset.train.inputs, apart, known.languages, plain, here, config.seed)


def _apart(config: Config, dataset: Dataset, method: Method) -> tuple[Tensor, Tensor]:
    """The training items that a method is trained on, and those that only its perplexity is measured on."""
    items = unlabelled_items(dataset, config.budget, config.seed)
    items = torch.arange(len(dataset.train)) if items is None else items
    return held_out(_languages(dataset), dataset.cases, items, method.held_out, config.seed)


def _languages(dataset: Dataset) -> Tensor:
    """The language of each training text, 0 where nothing says it."""
    texts = as_texts(dataset.train.inputs)
    return torch.zeros(len(texts), dtype=torch.int64) if texts.languages is None else texts.languages.long()


def material(config: Config, dataset: Dataset, run: Run, here: Machine) -> tuple[Method, PretrainBatches, Any]:
    """What a pre-training is made of: the method on its device, its batches, its views."""
    inputs, items = dataset.train.inputs, unlabelled_items(dataset, config.budget, config.seed)
    method = here.place(pretraining_method(config, dataset, check_sources(config)))
    check_views(config, dataset, method)
    if method.source is not None:
        source = labelled(method.source, f"dataset@method.source={method.source.name}")
        _check_source(config, dataset, source)
        inputs, items, classes = source.inputs, None, source.labels
    else:
        classes = surrogate_classes(method, items, dataset, run.folder, config.seed, here)
        items = items if classes is None else (classes != UNKNOWN).nonzero()[:, 0]
    if method.held_out:
        items, _ = _apart(config, dataset, method)
    phase = config.schedule.pretrain
    how = (items, phase.batch_size, phase.order, config.seed, phase.steps_per_epoch)
    views = views_of(config, dataset, "pretrain")
    if pairs(config):
        if dataset.cases is None:
            raise ConfigError(
                f"dataset={config.dataset.name}: has no cases, whose inputs method={config.method.name} pairs"
            )
        batches, what = CaseBatches(inputs, dataset.cases, *how), "cases"
    else:
        power, languages = method.language_power, None if method.language_power is None else _languages(dataset)
        if power is not None and phase.order == "file":
            raise ConfigError(
                f"schedule.pretrain.order=file: method.language_power={power:g} draws languages; take shuffle, or set it to 1"
            )
        batches, what = Batches(inputs, classes, *how, languages, 1.0 if power is None else power), "inputs to train on"
        if method.pairs and dataset.cases is not None:
            batches = PartnerBatches(batches, dataset.cases)
    _check_batches(config, batches, what)
    note_smaller_batches("schedule.pretrain.batch_size", phase.batch_size, batches.size, what)
    return method, batches, views


def _check_batches(config: Config, batches: PretrainBatches, what: str) -> None:
    """Raises ConfigError where too little is there for the schedule, as far as only the data could tell."""
    phase, there = config.schedule.pretrain, batches.steps_per_epoch
    problems: list[str] = []
    if batches.size < 2:
        rest = config.budget.pretrain_on == "rest"
        where = "budget.pretrain_on=rest: leaves" if rest else f"method={config.method.name}: has"
        problems.append(f"{where} {batches.size} of the {what}; it must be at least 2, which are told apart")
    for key in ("steps_per_epoch", "gradient_accumulation"):
        asked = getattr(phase, key) or 1
        if asked > there and not problems:
            problems.append(
                f"schedule.pretrain.{key}={asked}: an epoch has {there:,} batches of {batches.size} {what}; at most that many"
            )
    if problems:
        raise ConfigError(*problems)


def check_sources(config: Config) -> Path | None:
    """Before anything is trained, whether the runs can be had that pre-training begins from, or learns from.

    Returns:
        the folder of the pre-training that `init_from` names, from which this one goes on; None for random weights.

    Raises:
        ConfigError: one is not finished, is no pre-training, or was trained with another network or range of pixels. The head
            may differ, it is then a new one.
    """
    features = config.method.arguments.get("features")
    if isinstance(features, Path):
        settings_of("method.features", features, "pre-training")
    if config.init_from == "random":
        return None
    return source_at("init_from", config.init_from, "random", config, None)


def _check_source(config: Config, dataset: Dataset, source: Split) -> None:
    """Raises ConfigError where a source of labels shares inputs with the target."""
    shared = overlap(dataset, source)
    if shared > SHARED:
        raise ConfigError(
            f"dataset@method.source={config.method.arguments['source'].name}: has {shared:.0%} of the inputs of "
            f"dataset={config.dataset.name}, whose labels would leak into pre-training; take another source"
        )


def closing(result: dict[str, Any], run: Run) -> None:
    """How the pre-training ended."""
    knn = result["knn_accuracy"]
    shown = "" if knn is None else f", kNN accuracy {100 * knn:.1f} % (training labels, display only)"
    log.info("Pre-trained in %.0f s: loss %.3f%s. In %s", result["seconds"], result["loss"], shown, quoted(run.folder))


def next_steps(config: Config, result: dict[str, Any], run: Run) -> Iterator[tuple[str, str]]:
    """Use it."""
    yield (
        run.command("finetune", f"checkpoint={for_hydra(short(run.folder))}", "init_from="),
        "trains a classifier from it",
    )
