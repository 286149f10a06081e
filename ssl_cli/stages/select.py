"""Which inputs to label next: those of which labels would help most."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.config.build import plain
from ssl_cli.config.schema import Config
from ssl_cli.config.words import for_hydra
from ssl_cli.data.listed_items import listed_items
from ssl_cli.data.progress import show_progress
from ssl_cli.data.selection.k_centre import choose_k_centre
from ssl_cli.data.selection.proposal import Proposal, draw_at_random
from ssl_cli.data.selection.typical import choose_typical
from ssl_cli.data.selection.uncertain import choose_by_entropy, choose_by_margin, choose_margin_then_k_centre
from ssl_cli.data.types import UNKNOWN, Dataset, Plain, fingerprint
from ssl_cli.errors import ConfigError
from ssl_cli.methods.networks import count_parameters
from ssl_cli.models.heads import Standardise
from ssl_cli.randomness import generator
from ssl_cli.runs.files import quoted, short
from ssl_cli.runs.finished import origin
from ssl_cli.runs.identity import identity
from ssl_cli.runs.result import Result, finished_result
from ssl_cli.runs.run import Run
from ssl_cli.stages.fit import open_dataset
from ssl_cli.stages.identity import identity_of
from ssl_cli.stages.networks import plain_of, pretrained_backbone
from ssl_cli.stages.select_settings import BY_CLASSIFIER, BY_FEATURES, SelectStage
from ssl_cli.stages.selected import save_selected
from ssl_cli.stages.start import check_start, find_or_pretrain
from ssl_cli.stages.trained import TrainedNetwork, open_with_features
from ssl_cli.training.device import Machine, machine_of
from ssl_cli.training.evaluate import outputs

log = logging.getLogger("ssl_cli")

AT_ONCE = 4096  # inputs between two steps of the bar
SHOWN_FROM = 4  # such parts


@dataclass(frozen=True, kw_only=True)
class SelectResult(Result):
    """Of a choice of inputs to label; `labels` is how many have one already.

    by: the way; inputs: how many were chosen; candidates: of how many.
    pretraining: whose features were looked at; classifier: the identity of the one that was asked.
    """

    by: str
    inputs: int
    candidates: int
    pretraining: dict[str, Any] | None
    classifier: str | None


def select(config: Config, run: Run) -> dict[str, Any]:
    """Choose inputs to label and write them with pictures and a page to label them on; the numbers of the run.

    Raises:
        ConfigError: there is nothing to choose from, or the network does not fit the data.
    """
    if run.result:
        return run.result
    stage = config.stage_as(SelectStage)
    if stage.by in BY_FEATURES:
        check_start(config)
    here = machine_of(run, config.runtime)
    dataset = open_dataset(config, run)
    known = known_labels(stage, dataset)
    candidates = torch.ones(len(dataset.train), dtype=torch.bool)
    candidates[list(known)] = False
    unlabelled = candidates.nonzero()[:, 0]
    problems = list(stage.too_few(len(unlabelled), config.dataset.name))
    if problems:
        raise ConfigError(*problems)
    log.info(
        "Choosing %s of %s training inputs without a label, by %s, on %s → %s",
        f"{stage.count:,}", f"{len(unlabelled):,}", stage.by, here.described(), short(run.folder),
    )  # fmt: skip
    labelled = torch.tensor(list(known), dtype=torch.int64)
    start: Path | None = None
    parameters, classes = 0, dataset.classes
    if stage.by in BY_FEATURES:
        start = find_or_pretrain(config, run, dataset, here)
        backbone = here.place(pretrained_backbone(config, dataset, start))
        parameters = count_parameters(backbone)
        features = _answers(backbone, dataset, plain_of(config, dataset), here)
        proposal = _by_features(stage, features, labelled, unlabelled, config.seed)
    elif stage.by in BY_CLASSIFIER:
        trained = _classifier_for(stage, dataset, here)
        parameters, classes = count_parameters(trained.network), trained.form.classes
        answers = _answers(trained.network, dataset, trained.plain, here)
        proposal = _by_classifier(stage, answers, classes, labelled, unlabelled)
    else:
        proposal = draw_at_random(unlabelled, stage.count, generator(config.seed, "selection"))
    save_selected(config, run, dataset, known, proposal, classes)
    classifier = None if stage.run is None else str(finished_result(stage.run)["identity"])
    return run.finish(
        SelectResult(
            identity=_identity(config, dataset, known, classifier, start, here),
            labels=len(known),
            backbone_parameters=parameters or None,
            environment=here.environment(),
            by=stage.by,
            inputs=len(proposal.items),
            candidates=len(unlabelled),
            pretraining=origin(start),
            classifier=classifier,
        )
    )


def known_labels(stage: SelectStage, dataset: Dataset) -> dict[int, str | None]:
    """The training inputs that have a label, each with the name of its class; None where a table does not say it.

    Raises:
        ConfigError: the table of further labels contradicts the data set.
    """
    names = {
        item: dataset.classes[label] for item, label in enumerate(dataset.train.labels.tolist()) if label != UNKNOWN
    }
    known: dict[int, str | None] = {} if stage.simulate else dict(names)
    if stage.labels is None:
        return known
    for item, name in listed_items("stage.labels", stage.labels, dataset, others_may_be_listed=True).items():
        if name == "":
            continue  # a row that was left open
        own = names.get(item)
        if name is not None and own is not None and name != own:
            said = dataset.files.train[item] if dataset.files else f"item {item}"
            raise ConfigError(
                f"stage.labels={stage.labels}: says that {said} is {name}, and dataset={dataset.name} says {own}"
            )
        known[item] = name if own is None else own
    return known


def _answers(network: nn.Module, dataset: Dataset, plain: Plain, here: Machine) -> Tensor:
    """What a network gives for every training input: float32 (N, D)."""
    inputs = dataset.train.inputs
    count = -(-len(inputs) // AT_ONCE)
    parts = show_progress("Looking at", "parts", count, SHOWN_FROM, inputs.split(AT_ONCE))
    return torch.cat([outputs(network, part, plain, here) for part in parts])


def _by_features(stage: SelectStage, features: Tensor, known: Tensor, candidates: Tensor, seed: int) -> Proposal:
    # Otherwise what all inputs share would count for more than what tells them apart.
    features = Standardise(features)(features)
    if stage.by == "k_centre":
        return choose_k_centre(features, known, candidates, stage.count)
    return choose_typical(features, known, candidates, stage.count, generator(seed, "selection"))


def _by_classifier(
    stage: SelectStage, answers: Tensor, classes: tuple[str, ...], known: Tensor, candidates: Tensor
) -> Proposal:
    logits, features = answers[:, : len(classes)], answers[:, len(classes) :]
    if stage.by == "margin":
        return choose_by_margin(logits, classes, candidates, stage.count)
    if stage.by == "entropy":
        return choose_by_entropy(logits, candidates, stage.count)
    return choose_margin_then_k_centre(logits, classes, Standardise(features)(features), known, candidates, stage.count)


def _classifier_for(stage: SelectStage, dataset: Dataset, here: Machine) -> TrainedNetwork:
    """The finished classifier, which answers with logits and features.

    Raises:
        ConfigError: it takes other inputs than those of the data set.
    """
    if stage.run is None:
        raise ConfigError(f"stage.run=null: stage.by={stage.by} asks a finished classifier")
    trained = open_with_features("stage.run", stage.run, lambda _: here)
    own, theirs = dataset.vocabulary, trained.form.vocabulary
    if (own is None) != (theirs is None) or (own is None and dataset.shape != trained.form.shape):
        raise ConfigError(
            f"stage.run={stage.run}: was trained on {trained.form.described()}, and dataset={dataset.name} has "
            f"{dataset.described()}; the data must be as they were for the run"
        )
    if own is not None and theirs is not None and own.tokenizer != theirs.tokenizer:
        raise ConfigError(
            f"stage.run={stage.run}: its tokenizer is another than that of dataset={dataset.name}: the same numbers mean other "
            f"tokens; add dataset.tokenizer.path={stage.run}"
        )
    return trained


def _identity(
    config: Config,
    dataset: Dataset,
    known: dict[int, str | None],
    classifier: str | None,
    start: Path | None,
    here: Machine,
) -> str:
    # The classifier and the table count by their content, below.
    asked = {key: value for key, value in plain(config.stage).items() if key not in ("run", "labels")}
    return identity(
        {
            "stage": asked,
            "data": fingerprint(dataset.train.inputs, dataset.train.labels),
            "known": sorted(known),
            "classifier": classifier,
            "start": None if start is None else identity_of(start),
            "seed": config.seed,
            "precision": here.precision,
        }
    )


def closing(result: dict[str, Any], run: Run) -> None:
    """How many, and where to label them."""
    log.info(
        "%s of %s inputs without a label, by %s: to_label.csv, to_label.png; open label.html to label them. In %s (%.0f s)",
        f"{result['inputs']:,}", f"{result['candidates']:,}", result["by"], quoted(run.folder), result["seconds"],
    )  # fmt: skip


def next_steps(config: Config, result: dict[str, Any], run: Run) -> Iterator[tuple[str, str]]:
    """Train on the choice, where its labels are known."""
    if config.stage_as(SelectStage).simulate:
        file = f"budget.file={for_hydra(short(run.folder / 'to_label.csv'))}"
        yield run.command("finetune", "budget=listed", file), "a classifier from exactly these labels"
