"""Steps and batches that fit the number and the size of inputs: what `schedule=auto` stands for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ssl_cli.config.automatic import values_of
from ssl_cli.config.consistency import AUTO, labels_to_train_on, pairs, phase_of_minutes, to_pretrain_on
from ssl_cli.config.schema import Config, Facts, ImageFacts
from ssl_cli.data.dataset import labelled, load

LARGE = 48 * 48  # pixels, above which batches have half as many images
MOST = 10_000  # steps
IN_WORDS = {
    "pretrain": "pre-training",
    "supervised": "training on labels",
    "distill": "distillation",
    "semi": "semi-supervised training",
}


@dataclass(frozen=True)
class _Rule:
    """So many passes over the inputs, but at least and at most so many steps, in batches of at most so many inputs."""

    passes: int
    least: int
    most: int
    batch_size: int
    evaluations: int  # while it trains


def chosen_schedule(config: Config, facts: Facts, keeps: Callable[[str], bool]) -> dict[str, Any]:
    """A schedule for the data, as settings by key.

    Steps are chosen and not epochs: `epochs` is only made large enough for them. Pre-training goes over the inputs 100 times
    (over texts 60 times), in 1,000 to 10,000 steps. Training on labels takes 600 steps (texts: 300), since few labels need as
    many as more of them do, and ten passes where these are more.

    Args:
        config: before anything is chosen.
        facts: of the data set, all known.
        keeps: whether the value of a key stays, so that the others have to go with it.
    """
    is_image = isinstance(facts, ImageFacts)
    pixels = facts.shape[1] * facts.shape[2] if isinstance(facts, ImageFacts) and facts.shape else 0
    largest = 128 if pixels > LARGE else 256
    everything = (facts.inputs or 0) + (facts.unlabelled or 0)
    inputs = _inputs_to_pretrain_on(config, facts)
    twenty = _Rule(20, 500, MOST // 2, largest, 10)
    rules = {
        "pretrain": (_Rule(100 if is_image else 60, 1000, MOST, largest, 10), inputs),
        "supervised": (
            _Rule(10, 600 if is_image else 300, MOST, 64, 20),
            labels_to_train_on(config.budget, facts.inputs or 0),
        ),
        "distill": (twenty, everything),
        "semi": (twenty, everything),
    }
    values = {"schedule.name": "standard"} if is_image else values_of("schedule", "text")
    for name, (rule, count) in rules.items():
        if count > 0:
            values |= _of_phase(config, name, rule, count, keeps)
    return values


def _inputs_to_pretrain_on(config: Config, facts: Facts) -> int:
    source = config.method.arguments.get("source")
    return to_pretrain_on(config, facts) or (
        0 if source is None else len(labelled(load(source), "dataset@method.source"))
    )


def _of_phase(config: Config, name: str, rule: _Rule, count: int, keeps: Callable[[str], bool]) -> dict[str, Any]:
    """Batch size, steps, and how often it is evaluated; a time that was asked for decides the steps later."""
    key, phase = f"schedule.{name}", getattr(config.schedule, name)
    size = phase.batch_size if keeps(f"{key}.batch_size") else min(rule.batch_size, count)
    per_epoch = max(1, phase.steps_per_epoch or count // min(size, count))
    steps = two_digits(min(rule.most, max(rule.least, rule.passes * count / size)))
    values: dict[str, Any] = {f"{key}.batch_size": size}
    if keeps(f"{key}.epochs") or (keeps(f"{key}.max_steps") and phase.max_steps is None):
        return values  # passes were asked for
    if keeps(f"{key}.max_steps"):
        steps = phase.max_steps
    elif config.schedule.minutes is None or name != phase_of_minutes(config):
        values[f"{key}.max_steps"] = steps
    every = max(1, round(steps / per_epoch / rule.evaluations))
    return values | {f"{key}.epochs": steps, f"{key}.evaluate_every": every}


def two_digits(number: float) -> int:
    """A number of steps, at least 1, rounded to two significant digits."""
    return max(1, int(float(f"{number:.1e}")))


def described_schedule(config: Config, facts: Facts) -> str:
    """What was chosen, in a line, for the trainings that the stage makes."""
    inputs = _inputs_to_pretrain_on(config, facts)
    labels = labels_to_train_on(config.budget, facts.inputs or 0)
    parts: list[str] = []
    for name in config.stage.phases:
        phase = getattr(config.schedule, name)
        if name == "pretrain" and config.checkpoint != AUTO:
            continue
        steps = f"{phase.max_steps:,} steps" if phase.max_steps else f"{phase.epochs:,} epochs"
        size = min(phase.batch_size, labels) if name == "supervised" else phase.batch_size
        parts.append(f"{IN_WORDS[name]} takes {steps} with batches of {size}")
    shape = f" of {facts.shape[1]}×{facts.shape[2]} pixels" if isinstance(facts, ImageFacts) and facts.shape else ""
    things = "images" if isinstance(facts, ImageFacts) else "texts"
    things = "cases" if pairs(config) else things
    return f"schedule=auto: {'; '.join(parts) or 'nothing is trained'}, for {inputs:,} {things}{shape}."
