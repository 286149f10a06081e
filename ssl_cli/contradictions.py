"""What single values cannot tell: settings that are each allowed and cannot work together."""

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from ssl_cli import signatures
from ssl_cli.needs import method_problems, shape_problems
from ssl_cli.schema import Budget, Component, Config, Facts
from ssl_cli.typed import shown


def contradictions(config: Config) -> Iterator[str]:
    """One sentence for each."""
    facts = config.dataset.arguments.get("facts")
    yield from _budget_problems(config, facts if isinstance(facts, Facts) else None)
    yield from _schedule_problems(config)
    yield from _stage_problems(config)
    yield from _batch_problems(config, facts if isinstance(facts, Facts) else None)
    yield from _view_problems(config, facts)
    yield from _head_problems(config, facts)
    if facts and facts.cases == 0 and pairs(config):
        yield (
            f"method={config.method.name}: dataset={config.dataset.name} has no cases; use dataset=synthetic_cases, or "
            "dataset=arrays with train_cases.npy"
        )
    for method in config.stage.methods.values() if config.stage.name == "league" else [config.method]:
        entrant = replace(config, method=method)
        inputs = _inputs_to_pretrain_on(entrant, facts) if facts and facts.inputs else None
        yield from method_problems(entrant, facts, inputs)
    if facts and facts.shape:
        yield from shape_problems(config, facts.shape)
    if config.runtime.device != "auto" and not re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", config.runtime.device):
        yield f"runtime.device={config.runtime.device}: must be auto, cpu, cuda, cuda:N, mps or xpu"


def _budget_problems(config: Config, facts: Facts | None) -> Iterator[str]:
    budget = config.budget
    counted = budget.kind in ("balanced", "random", "first")
    if counted and budget.labels is None:
        yield f"budget.labels=null: budget={budget.kind} needs a number of labels"
    if not counted and budget.labels is not None:
        yield f"budget.labels={budget.labels}: budget={budget.kind} takes no number; use budget=balanced, random or first"
    if (budget.kind == "fraction") != (budget.fraction is not None):
        yield f"budget.fraction={shown(budget.fraction)}: belongs to budget=fraction, and only there"
    if facts is None or facts.inputs is None:
        return
    if budget.labels is not None and budget.labels > facts.inputs:
        yield f"budget.labels={budget.labels}: dataset={config.dataset.name} has {facts.inputs:,} labelled inputs"
    labels = _label_count(budget, facts.inputs)
    if budget.kind == "balanced" and facts.classes and labels < facts.classes:
        yield (
            f"budget.labels={labels}: budget=balanced needs one for each of the {facts.classes} classes of "
            f"dataset={config.dataset.name}, so at least {facts.classes}"
        )
    if labels < 1:
        yield f"budget.fraction={budget.fraction}: leaves no label of {facts.inputs:,} inputs"
    held_out = round(budget.validation * labels)
    if budget.validation and not 1 <= held_out < labels:
        yield f"budget.validation={budget.validation}: takes {held_out} of {labels} labels; both parts need at least one"
    if budget.kind == "balanced" and facts.classes and 0 < labels - held_out < facts.classes <= labels:
        yield (
            f"budget.validation={budget.validation}: leaves {labels - held_out} of {labels} labels to train on, "
            f"fewer than the {facts.classes} classes"
        )
    if budget.pretrain_on == "rest" and labels >= facts.inputs + (facts.unlabelled or 0):
        yield "budget.pretrain_on=rest: all inputs are in the budget, none is left to pre-train on"


def _label_count(budget: Budget, labelled: int) -> int:
    return budget.labels or round((budget.fraction or 1) * labelled)


def _schedule_problems(config: Config) -> Iterator[str]:
    supervised = config.schedule.supervised
    if supervised.select == "best_validation" and not config.budget.validation:
        yield "schedule.supervised.select=best_validation: needs budget.validation above 0"
    if supervised.select != "last" and not supervised.evaluate_every:
        yield f"schedule.supervised.select={supervised.select}: needs schedule.supervised.evaluate_every of at least 1"
    for name, phase in (
        ("pretrain", config.schedule.pretrain),
        ("supervised", supervised),
        ("semi", config.schedule.semi),
    ):
        if phase.optimiser.momentum and phase.optimiser.name not in ("sgd", "lars"):
            yield (
                f"schedule.{name}.optimiser.momentum={phase.optimiser.momentum}: is for sgd and lars; "
                f"{phase.optimiser.name} takes 0"
            )


def _batch_problems(config: Config, facts: Facts | None) -> Iterator[str]:
    """Batches that the data cannot fill, of the trainings that the stage makes."""
    pretrain, supervised, semi = config.schedule.pretrain, config.schedule.supervised, config.schedule.semi
    pretrains = config.stage.name == "pretrain" or (_starts_pretrained(config) and config.checkpoint == "auto")
    if pretrains and pretrain.batch_size < 2:
        yield "schedule.pretrain.batch_size=1: must be at least 2, since inputs are told apart from each other"
    if facts is None or facts.inputs is None:
        return
    labels = _label_count(config.budget, facts.inputs)
    everything = facts.inputs + (facts.unlabelled or 0)
    counts = {
        "pretrain": _inputs_to_pretrain_on(config, facts) if pretrains else 0,
        "supervised": labels - round(config.budget.validation * labels) if _trains_on_labels_alone(config) else 0,
        "semi": everything if config.stage.name == "semi" else 0,
    }
    for name, phase in (("pretrain", pretrain), ("supervised", supervised), ("semi", semi)):
        full = counts[name] // min(phase.batch_size, counts[name]) if counts[name] > 0 else 0
        if full and phase.steps_per_epoch is not None and phase.steps_per_epoch > full:
            yield (
                f"schedule.{name}.steps_per_epoch={phase.steps_per_epoch}: {counts[name]:,} inputs fill {full:,} batches "
                f"of {phase.batch_size}; at most that many, or null for all"
            )


def _inputs_to_pretrain_on(config: Config, facts: Facts) -> int:
    """How many inputs pre-training has; 0 where only reading its source can tell."""
    source = config.method.arguments.get("source")
    if isinstance(source, Component):
        theirs = source.arguments.get("facts")
        return theirs.inputs or 0 if isinstance(theirs, Facts) else 0
    everything = facts.inputs + (facts.unlabelled or 0)
    return everything - (_label_count(config.budget, facts.inputs) if config.budget.pretrain_on == "rest" else 0)


def _trains_on_labels_alone(config: Config) -> bool:
    if config.stage.name == "semi":
        return config.stage.start == "finetuned"
    return config.stage.name not in ("pretrain", "evaluate")


def _starts_pretrained(config: Config) -> bool:
    if config.stage.name == "distill":
        return config.stage.start == "pretrained" or config.stage.teacher == "auto"
    if config.stage.name == "semi":
        return config.stage.start != "random"
    return config.stage.name not in ("pretrain", "baseline", "evaluate")


def _stage_problems(config: Config) -> Iterator[str]:
    """What the settings of a stage contradict among themselves, or lack."""
    stage = config.stage
    if config.start != "random" and config.checkpoint != "auto":
        yield (
            f"start={config.start}: is for a pre-training that is yet to be made, and checkpoint={config.checkpoint} is "
            "finished; give one of the two"
        )
    if stage.name == "semi" and stage.pseudo_label.begin >= stage.pseudo_label.full:
        yield (
            f"stage.pseudo_label.full={stage.pseudo_label.full:g}: must be above "
            f"stage.pseudo_label.begin={stage.pseudo_label.begin:g}"
        )
    if stage.name == "evaluate" and stage.run is None:
        yield "stage.run=null: must be the folder of a finished run or comparison, such as outputs/compare/…"
    if stage.name == "evaluate" and not any(vars(stage.shifts).values()):
        yield "stage.shifts: all lists are empty; give at least one of them a strength"


def _view_problems(config: Config, facts: Facts | None) -> Iterator[str]:
    for name in ("pretrain", "supervised"):
        steps = getattr(config.augment, name).arguments
        where = f"augment.{name}"
        ranges = (("affine", "scale"), ("crop", "area"), ("crop", "ratio"), ("blur", "sigma"), ("erase", "area"),
                  ("erase", "ratio"))  # fmt: skip
        for step, key in ranges:
            low, high = getattr(steps.get(step), key, (1, 1))
            top = 1 if key == "area" else math.inf
            if not 0 < low <= high <= top:
                yield f"{where}.{step}.{key}=[{low:g}, {high:g}]: must rise, above 0{' and up to 1' if top == 1 else ''}"
        blur = steps.get("blur")
        if blur and blur.kernel % 2 == 0:
            yield f"{where}.blur.kernel={blur.kernel}: must be odd"
        if blur and blur.p and facts and facts.shape and blur.kernel > 2 * min(facts.shape[1:]) - 1:
            yield f"{where}.blur.kernel={blur.kernel}: is wider than inputs of {facts.shape[1]}×{facts.shape[2]} allow"
        colour = steps.get("colour")
        if colour and colour.hue * colour.strength > 0.5:
            yield (
                f"{where}.colour: hue={colour.hue:g} times strength={colour.strength:g} is {colour.hue * colour.strength:g}; "
                "at most 0.5, half of the colour circle"
            )
        if facts and facts.shape and facts.shape[0] == 1 and colour and colour.p and (colour.saturation or colour.hue):
            yield (
                f"{where}.colour: saturation={colour.saturation:g} and hue={colour.hue:g} need colour, and "
                f"dataset={config.dataset.name} is grey; set both to 0, or augment=digits"
            )


def projects(config: Config) -> bool:
    """Whether the method has a projection head, of which fine-tuning could keep something."""
    return "head" in signatures.parameters(config.method.path)


def pairs(config: Config) -> bool:
    """Whether the method learns from two inputs of the same case."""
    return "cases" in signatures.parameters(config.method.path)


def _head_problems(config: Config, facts: Facts | None) -> Iterator[str]:
    if config.head.keep != 0 and not projects(config):
        yield f"head.keep={config.head.keep}: method={config.method.name} has no projection head to keep; use head.keep=0"
    widths = config.head.projection.arguments.get("widths")
    if widths is not None and isinstance(config.head.keep, int) and config.head.keep > len(widths):
        yield f"head.keep={config.head.keep}: head={config.head.name} has {len(widths)} projection layers"
    last = (config.head.classifier.arguments.get("widths") or ["classes"])[-1]
    if facts and facts.classes and last not in ("classes", facts.classes):
        yield (
            f"head.classifier.widths: head={config.head.name} ends in {last}, and dataset={config.dataset.name} "
            f"has {facts.classes} classes; end it in `classes`"
        )
