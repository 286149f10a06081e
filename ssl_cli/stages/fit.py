"""Do networks, methods and data fit together? Tried on PyTorch's meta device, where nothing is computed or stored.

What a network or a method needs is said by its own constructor, as a `ValueError`, and nowhere else.
"""

import logging
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ssl_cli.config.automatic import open_groups
from ssl_cli.config.consistency import data_problems, inputs_to_pretrain_on, labels_to_train_on
from ssl_cli.config.schema import Config, DatasetComponent, Facts
from ssl_cli.config.trust import components
from ssl_cli.data.dataset import contradictions, described, facts_of, load
from ssl_cli.data.token_batch import sample
from ssl_cli.data.tokens import Tokens
from ssl_cli.data.types import UNKNOWN, Dataset, Files, View
from ssl_cli.errors import ConfigError
from ssl_cli.methods.base import Method
from ssl_cli.methods.networks import NetworkSettings, build_classifier, build_method
from ssl_cli.methods.parts.language_model import require_whole_texts
from ssl_cli.methods.trained_part import train_part
from ssl_cli.runs.files import as_csv, write
from ssl_cli.runs.run import Run
from ssl_cli.stages.fit_machine import check_shared, machine_problems, share_problems
from ssl_cli.stages.fit_resolution import check_resolution
from ssl_cli.stages.networks import language_model_of, views_of
from ssl_cli.stages.remember import remember
from ssl_cli.stages.same_data import check_same_data

log = logging.getLogger("ssl_cli")

SAMPLED = 8  # tokens of a text, where networks are tried
BATCHED = ("supervised", "distill")  # phases in which a classifier sees nothing but one batch of `batch_size`


class _NotKnownError(Exception):
    """What only reading the data can tell."""


def open_dataset(config: Config, run: Run) -> Dataset:
    """The data of a run; where the settings could not tell what they are, it is checked now that networks fit them.

    Of files, `skipped.csv` says which were left out, and `split.csv` which are for the test where the program chose them.

    Raises:
        ConfigError: they cannot be read, do not fit, or are others than those that the run began with.
    """
    undecided = open_groups(config)
    if undecided:
        raise ConfigError(
            *(
                f"{group}=auto: is not decided; in Python, take the settings from stages.automatic"
                for group in undecided
            )
        )
    dataset = load(config.dataset)
    if described(config.dataset) is None:
        check_fit(config, dataset)
    check_same_data(run, dataset)
    if dataset.files is not None:
        _save_files(dataset, dataset.files, run.folder)
    remember(config, run)
    return dataset


def _save_files(dataset: Dataset, files: Files, folder: Path) -> None:
    if files.skipped:
        write(folder / "skipped.csv", as_csv([("path", "reason"), *files.skipped]))
    if files.held_out:
        rows = [
            (path, part, dataset.classes[label] if label != UNKNOWN else "")
            for part, paths, split in (("train", files.train, dataset.train), ("test", files.test, dataset.test))
            for path, label in zip(paths, split.labels.tolist(), strict=True)
        ]
        write(folder / "split.csv", as_csv([("path", "split", "label"), *rows]))


def check_fit(config: Config, dataset: Dataset | None = None) -> None:
    """Build all networks of a run without weights.

    Args:
        config: the settings.
        dataset: the data, if they were read; else what the settings say of them, and nothing is checked where that is not
            enough.

    Raises:
        ConfigError: with a sentence for each thing that does not fit.
    """
    known = dataset or described(config.dataset)
    said = config.dataset.arguments.get("facts")
    facts = facts_of(dataset) if dataset is not None else said if isinstance(said, Facts) else None
    if dataset is None:
        problems = machine_problems(config.runtime) + _dataset_problems(config)
    else:
        problems = list(data_problems(config, facts))
    problems += share_problems(config, facts)
    # Without classes there are no networks to try.
    if known is None or facts is None or (problems and not known.classes):
        if problems:
            raise ConfigError(*problems)
        return
    for kind, variant, place in config.stage.networks(config):
        try:
            with torch.device("meta"):
                if kind == "method":
                    _try_method(variant, place, known, facts)
                else:
                    _try_classifier(variant, known, facts)
        except _NotKnownError:
            continue
        except ConfigError as error:
            problems += [problem for problem in error.problems if problem not in problems]
        except (RuntimeError, TypeError, OverflowError) as error:
            if "verflow" not in str(error):
                raise
            problems.append(f"{_built(variant, kind)}: one of its sizes is too large for any machine; make it smaller")
    if problems:
        raise ConfigError(*problems)


def _built(config: Config, kind: str) -> str:
    made = f", method={config.method.name}" if kind == "method" else ""
    return f"backbone={config.backbone.name}, head={config.head.name}{made}"


def _check_memory(config: Config, kind: str, network: nn.Module) -> None:
    """Raises ConfigError where the weights alone are more than this machine can hold."""
    taken = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    there = _memory()
    if there and taken > there:
        raise ConfigError(
            f"{_built(config, kind)}: the weights alone take {taken / 1e9:,.0f} GB, and this machine has {there / 1e9:,.0f}; "
            "make the network smaller"
        )


def _memory() -> int | None:
    """Bytes of main memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _dataset_problems(config: Config) -> list[str]:
    """What is wrong with the settings of data sets; of another one than the target it is said which."""
    return [
        problem if data is config.dataset else f"dataset={data.name}: {problem}"
        for data in components(config)
        if isinstance(data, DatasetComponent)
        for problem in contradictions(data)
    ]


def note_long_texts(config: Config, dataset: Dataset) -> None:
    """Say how many texts are cut where they are longer than a view."""
    views = views_of(config, dataset)
    if (
        isinstance(dataset.train.inputs, Tokens)
        and isinstance(dataset.test.inputs, Tokens)
        and hasattr(views, "longer")
    ):
        cut = [views.longer(split) for split in (dataset.train.inputs, dataset.test.inputs)]
        if sum(cut):
            log.info(
                "Note: augment.supervised.max_length=%s: %s of %s training and %s of %s test texts are longer, and are cut.",
                views.max_length, f"{cut[0]:,}", f"{len(dataset.train):,}", f"{cut[1]:,}", f"{len(dataset.test):,}",
            )  # fmt: skip


def note_smaller_batches(key: str, asked: int, size: int, what: str) -> None:
    """Say so where batches are smaller than a setting asks for, since there is no more to fill them with."""
    if size < asked:
        log.info("Note: %s=%s: there are %s %s, so a batch has as many.", key, f"{asked:,}", f"{size:,}", what)


def _settings(config: Config, inputs: int | None) -> NetworkSettings:
    if inputs is None:
        raise _NotKnownError
    return NetworkSettings(config.backbone, config.head, config.method, config.augment.scale, config.seed, inputs)


def _try_method(config: Config, place: str, dataset: Dataset, facts: Facts) -> None:
    for name, source in config.method.arguments.items():
        if isinstance(source, DatasetComponent) and _is_same(source, config.dataset):
            raise ConfigError(
                f"method={config.method.name}: dataset@{place}.{name}={source.name} is the target itself, whose labels would "
                "leak into pre-training; take another one"
            )
    method = build_method(_settings(config, inputs_to_pretrain_on(config, facts)), dataset, read=_described)
    _check_memory(config, "method", method)
    check_shared(config, method)
    _check_scale(config, method.backbone)
    check_views(config, dataset, method)
    problems = list(config.stage.network_problems(config, method))
    if problems:
        raise ConfigError(*problems)


def check_views(config: Config, dataset: Dataset, method: Method) -> None:
    """Raises ConfigError where the views of pre-training are for other inputs, or spoil the method's task."""
    views = views_of(config, dataset, "pretrain")
    _check_length(config, views, method.backbone)
    check_resolution(config, "pretrain", views, method, dataset)
    try:
        method.check_views(views)
    except ValueError as error:
        raise ConfigError(f"method={config.method.name}: {error}") from error


def _check_scale(config: Config, backbone: Any) -> None:
    """Raises ConfigError where published weights want pixels in another range."""
    wanted = getattr(backbone, "scale", None)
    if wanted not in (None, config.augment.scale):
        raise ConfigError(
            f"augment.scale={config.augment.scale:g}: backbone={config.backbone.name} wants pixels from 0 to {wanted:g}"
        )


def _check_length(config: Config, views: Any, backbone: Any) -> None:
    """Raises ConfigError where texts can be longer than a backbone takes."""
    check = getattr(backbone, "check_length", None)
    if check is None or not hasattr(views, "max_length"):
        return
    try:
        check(views.max_length)
    except ValueError as error:
        raise ConfigError(f"backbone={config.backbone.name}: {error}") from error


def _is_same(source: DatasetComponent, target: DatasetComponent) -> bool:
    return (source.path, source.arguments) == (target.path, target.arguments)


def _described(source: DatasetComponent) -> Dataset:
    known = described(source)
    if known is None:
        raise _NotKnownError
    return known


def _try_classifier(config: Config, dataset: Dataset, facts: Facts) -> None:
    # Where no layer of the projection head is kept, nothing is made of the method, whose inputs need not be known.
    inputs = 0 if config.head.keep == 0 else inputs_to_pretrain_on(config, facts)
    settings = _settings(config, inputs)
    weight = language_model_of(config)
    classifier = build_classifier(settings, dataset, None, 0.0, read=_described, language_model=weight)
    train_part(classifier, config.stage.trained_part, config.backbone.name, config.seed)
    _check_memory(config, "classifier", classifier)
    check_shared(config, classifier)
    _check_scale(config, classifier.backbone)
    views = views_of(config, dataset)
    _check_length(config, views, classifier.backbone)
    check_resolution(config, "supervised", views, classifier, dataset)
    if weight:
        try:
            require_whole_texts(views, "supervised")
        except ValueError as error:
            raise ConfigError(f"stage.language_model={weight:g}: {error}") from error
    labels = labels_to_train_on(config.budget, facts.inputs or 0)
    for name in BATCHED:
        if name not in config.stage.phases:
            continue
        asked = getattr(config.schedule, name).batch_size
        size = min(asked, labels) if name == "supervised" else asked
        _try_batch(config, classifier, dataset, size, f"schedule.{name}.batch_size={asked}")


def _try_batch(config: Config, classifier: nn.Module, dataset: Dataset, size: int, key: str) -> None:
    try:
        classifier(_sample(dataset, size))
    except ValueError as error:  # PyTorch's batch norm, of one value a channel
        if size > 1:
            raise
        raise ConfigError(
            f"{key}: a batch has one input, from which batch norm cannot learn; it must have at least 2"
        ) from error
    except (RuntimeError, AssertionError) as error:  # assertions are how networks of other libraries check sides
        raise ConfigError(
            f"backbone={config.backbone.name}, head={config.head.name}: {dataset.described()} do not pass ({error})"
        ) from error


def _sample(dataset: Dataset, size: int) -> View:
    """A batch as the network gets it, without content."""
    if dataset.vocabulary is None:
        return torch.empty(size, *dataset.shape)
    return sample(dataset.vocabulary, size, SAMPLED, "meta")
