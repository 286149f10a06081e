"""What single values cannot tell: settings that are each allowed and cannot work together."""

import re
from collections.abc import Iterator

from ssl_cli.config import signatures
from ssl_cli.config.item_list import read_item_list
from ssl_cli.config.schema import Budget, Config, DatasetComponent, Facts
from ssl_cli.config.typecheck import shown
from ssl_cli.config.view_consistency import view_problems
from ssl_cli.errors import ConfigError

AUTO = "auto"  # the name of views and of a schedule that are chosen once the data can be read
PHASES = ("pretrain", "supervised", "distill", "semi")


def contradictions(config: Config) -> Iterator[str]:
    """One sentence for each. What a network or a method needs is not among them: its constructor says it (`stages.fit`)."""
    facts = config.dataset.arguments.get("facts")
    yield from data_problems(config, facts if isinstance(facts, Facts) else None)
    yield from _schedule_problems(config)
    yield from _minutes_problems(config)
    yield from _start_problems(config)
    yield from config.stage.problems(config)
    if config.runtime.device != "auto" and not re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", config.runtime.device):
        yield f"runtime.device={config.runtime.device}: must be auto, cpu, cuda, cuda:N, mps or xpu"


def data_problems(config: Config, facts: Facts | None) -> Iterator[str]:
    """What does not go together with the data, as far as they are known; asked again once unknown ones are read."""
    yield from _budget_problems(config, facts)
    yield from _batch_problems(config, facts)
    yield from view_problems(config, facts)
    yield from _head_problems(config, facts)
    if facts is not None:
        yield from config.stage.data_problems(config, facts)


def _budget_problems(config: Config, facts: Facts | None) -> Iterator[str]:
    budget = config.budget
    counted = budget.kind in ("balanced", "random", "first")
    if counted and budget.labels is None:
        yield f"budget.labels=null: budget={budget.kind} needs a number of labels"
    if not counted and budget.kind != "listed" and budget.labels is not None:
        yield f"budget.labels={budget.labels}: budget={budget.kind} takes no number; use budget=balanced, random or first"
    yield from _listed_problems(budget)
    if budget.kind == "fraction" and budget.fraction is None:
        yield "budget.fraction=null: budget=fraction needs a share of the labels"
    if budget.kind != "fraction" and budget.fraction is not None:
        yield f"budget.fraction={shown(budget.fraction)}: belongs to budget=fraction, and only there"
    if facts is None or facts.inputs is None:
        return
    if not config.stage.sees_labels and budget.pretrain_on == "all":  # no label of the budget is looked at
        return
    if not facts.inputs:
        name = config.dataset.name
        yield f"dataset={name}: has no labelled inputs, and stage={config.stage.name} needs some; stage=select says which"
        return
    if budget.labels is not None and budget.labels > facts.inputs:
        there = f"dataset={config.dataset.name} has {facts.inputs:,} labelled inputs"
        yield f"budget.labels={budget.labels}: {there}; budget=all takes them"
    labels = _label_count(budget, facts.inputs)
    if budget.kind == "balanced" and facts.classes and labels < facts.classes:
        yield (
            f"budget.labels={labels}: budget=balanced needs one for each of the {facts.classes} classes of "
            f"dataset={config.dataset.name}, so at least {facts.classes}"
        )
    if labels < 1 and budget.kind != "listed":
        yield f"budget.fraction={budget.fraction}: leaves no label of {facts.inputs:,} inputs"
    held_out = round(budget.validation * labels)
    if budget.validation and not 1 <= held_out < labels:
        yield f"budget.validation={budget.validation}: takes {held_out} of {labels} labels; both parts need at least one"
    if budget.kind == "balanced" and facts.classes and 0 < labels - held_out < facts.classes <= labels:
        yield (
            f"budget.validation={budget.validation}: leaves {labels - held_out} of {labels} labels to train on, "
            f"fewer than the {facts.classes} classes"
        )
    left = facts.inputs + (facts.unlabelled or 0) - labels
    if budget.pretrain_on == "rest" and left < 2:
        found = "one is" if left == 1 else "none is"
        yield f"budget.pretrain_on=rest: of all inputs, {found} not in the budget; it must leave at least 2 to pre-train on"


def _listed_problems(budget: Budget) -> Iterator[str]:
    if budget.kind != "listed":
        if budget.file is not None:
            yield f"budget.file={budget.file}: belongs to budget=listed, and only there"
        return
    if budget.file is None:
        yield "budget.file=null: budget=listed needs a table of inputs, such as to_label.csv of stage=select"
        return
    try:
        count = len(read_item_list("budget.file", budget.file))
    except ConfigError as error:
        yield from error.problems
        return
    if budget.labels is not None and budget.labels > count:
        yield f"budget.labels={budget.labels}: budget.file={budget.file} lists {count:,} inputs; at most that many, or null"


def _label_count(budget: Budget, labelled: int) -> int:
    if budget.labels or budget.kind != "listed" or budget.file is None:
        return budget.labels or round((budget.fraction or 1) * labelled)
    try:
        return len(read_item_list("budget.file", budget.file))
    except ConfigError:  # which has a sentence of its own
        return 0


def labels_to_train_on(budget: Budget, labelled: int) -> int:
    """How many of the budget's labels are not held out for validation."""
    labels = _label_count(budget, labelled)
    return labels - round(budget.validation * labels)


def _schedule_problems(config: Config) -> Iterator[str]:
    supervised = config.schedule.supervised
    if supervised.select == "best_validation" and not config.budget.validation:
        yield "schedule.supervised.select=best_validation: needs budget.validation above 0"
    if supervised.select != "last" and not supervised.evaluate_every:
        yield f"schedule.supervised.select={supervised.select}: needs schedule.supervised.evaluate_every of at least 1"
    for name in PHASES:
        optimiser = getattr(config.schedule, name).optimiser
        if optimiser.momentum and optimiser.name not in ("sgd", "lars"):
            yield (
                f"schedule.{name}.optimiser.momentum={optimiser.momentum}: is for sgd and lars; "
                f"{optimiser.name} takes 0"
            )


def phase_of_minutes(config: Config) -> str | None:
    """The training that `schedule.minutes` is about: pre-training where the stage makes one, else its only one; None without."""
    trainings = [phase for phase in config.stage.phases if phase != "pretrain"]
    if len(trainings) < len(config.stage.phases) and config.checkpoint == "auto":
        return "pretrain"
    return "supervised" if trainings == ["supervised"] and config.stage.ends_in == "classifier" else None


def _minutes_problems(config: Config) -> Iterator[str]:
    minutes, phase = config.schedule.minutes, phase_of_minutes(config)
    if minutes is None:
        return
    if phase is None:
        yield (
            f"schedule.minutes={minutes:g}: is for a pre-training, or for a training on labels alone, and "
            f"stage={config.stage.name} makes neither here; leave it at null"
        )
    elif (steps := getattr(config.schedule, phase).max_steps) is not None:
        yield (
            f"schedule.minutes={minutes:g}: schedule.{phase}.max_steps={steps} says too how long it takes; "
            "set one of the two to null"
        )


def _start_problems(config: Config) -> Iterator[str]:
    """What `init_from` and `checkpoint` name must be what the stage starts from."""
    stage, phases = config.stage, config.stage.phases
    if config.checkpoint != "auto" and not stage.takes_checkpoint:
        yield f"checkpoint={config.checkpoint}: stage={stage.name} starts from no finished pre-training; leave it at auto"
    if config.init_from != "random" and "pretrain" not in phases:
        yield f"init_from={config.init_from}: initialises a pre-training, and stage={stage.name} makes none"
    if config.init_from != "random" and config.checkpoint != "auto":
        yield (
            f"init_from={config.init_from}: initialises a new pre-training, and checkpoint={config.checkpoint} is "
            "finished; give one of the two"
        )


def _batch_problems(config: Config, facts: Facts | None) -> Iterator[str]:
    """Batches that the data cannot fill, of the trainings that the stage makes."""
    phases = [phase for phase in config.stage.phases if phase != "pretrain" or config.checkpoint == "auto"]
    if "pretrain" in phases and config.schedule.pretrain.batch_size < 2:
        yield "schedule.pretrain.batch_size=1: must be at least 2, since inputs are told apart from each other"
    if (
        facts is None or facts.inputs is None or config.schedule.name == AUTO
    ):  # which is asked again once batches are chosen
        return
    everything = facts.inputs + (facts.unlabelled or 0)
    counts = {
        "pretrain": to_pretrain_on(config, facts),
        "supervised": labels_to_train_on(config.budget, facts.inputs),
        "distill": everything,
        "semi": everything,
    }
    if "pretrain" in phases and pairs(config) and facts.cases == 1:
        name = config.dataset.name
        yield f"method={config.method.name}: tells cases apart, and dataset={name} has one; it must have at least 2"
    for name in phases:
        phase, count = getattr(config.schedule, name), counts[name]
        if name == "pretrain" and count == 1:
            if config.budget.pretrain_on == "all" and facts.cases != 1:  # the others have a sentence of their own
                yield f"stage={config.stage.name}: there is one input to pre-train on; there must be at least 2"
            continue
        things = "cases" if name == "pretrain" and pairs(config) else "inputs"
        if name != "supervised" and count and phase.batch_size > count:
            yield (
                f"schedule.{name}.batch_size={phase.batch_size}: there are {count:,} {things} to train on; at most that many"
            )
            continue
        full = count // min(phase.batch_size, count) if count > 0 else 0
        batches = min(phase.steps_per_epoch or full, full)
        if full and phase.gradient_accumulation > batches:
            yield (
                f"schedule.{name}.gradient_accumulation={phase.gradient_accumulation}: an epoch has {batches:,} batches of "
                f"{min(phase.batch_size, count)}; at most that many"
            )
        if full and phase.steps_per_epoch is not None and phase.steps_per_epoch > full:
            yield (
                f"schedule.{name}.steps_per_epoch={phase.steps_per_epoch}: {count:,} {things} fill {full:,} batches "
                f"of {phase.batch_size}; at most that many, or null for all"
            )


def to_pretrain_on(config: Config, facts: Facts) -> int:
    """Inputs, or cases where they stand for inputs in a batch, that an epoch of pre-training has; 0 where it is not known."""
    inputs = inputs_to_pretrain_on(config, facts) or 0
    return min(inputs, facts.cases) if pairs(config) and facts.cases else inputs


def inputs_to_pretrain_on(config: Config, facts: Facts) -> int | None:
    """How many inputs pre-training has, which may be those of another data set; None where only reading can tell."""
    for source in config.method.arguments.values():
        if isinstance(source, DatasetComponent):
            theirs = source.arguments.get("facts")
            return theirs.inputs if isinstance(theirs, Facts) else None
    if facts.inputs is None:
        return None
    everything = facts.inputs + (facts.unlabelled or 0)
    return everything - (_label_count(config.budget, facts.inputs) if config.budget.pretrain_on == "rest" else 0)


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
