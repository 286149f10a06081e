"""What to do next, as commands that can be typed: made of the words of the runs, and checked as the program checks these."""

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ssl_cli.config.compose import check_is_one_run, precheck
from ssl_cli.config.overrides import key_of, parsed_override, reading
from ssl_cli.errors import ConfigError
from ssl_cli.report.intervals import fewest_seeds
from ssl_cli.report.sections import NEIGHBOURS, TESTED, Counted, Section
from ssl_cli.report.verdict import Contest
from ssl_cli.runs.below import SeenRun
from ssl_cli.runs.reading import flattened, is_file
from ssl_cli.runs.typed import command_line, may_be_typed_again

COUNTED = ("balanced", "random", "first")  # budgets of a number of labels


@dataclass(frozen=True)
class Step:
    """One thing to do next: what for, and the command."""

    why: str
    command: str


def next_steps(section: Section, contest: Contest) -> list[Step]:
    """What would make the answer surer or better, the most useful first. A step whose command would be refused is none."""
    runs = section.runs_of(contest.best["arm"], contest.best["labels"])
    rivals = section.runs_of(contest.rival["arm"], contest.rival["labels"]) if contest.rival else []
    if not runs:
        return []
    steps = [
        *_other_arms(section, contest, runs),
        *_seeds(section, contest),
        *_labels(section, runs, rivals),
        *_classifier(section, runs),
        *_longer(runs),
        *_choice(section, runs),
    ]
    return [step for step in steps if _would_run(step.command)]


def place_of(section: Section) -> Path:
    """The folder in which the commands of a section are to be typed: that of the runs' own, or this one."""
    folders = {str(one.run.job.born.get("folder")) for one in section.counted}
    where = Path(folders.pop())
    try:
        return where if not folders and where.is_absolute() and where.is_dir() else Path.cwd()
    except (OSError, ValueError):  # another person's
        return Path.cwd()


def _seen_from(place: Path, path: Path) -> str:
    return str(path.relative_to(place)) if path.is_relative_to(place) else str(path)


def _other_arms(section: Section, contest: Contest, runs: Sequence[Counted]) -> Iterator[Step]:
    """What the arm has to beat, or what might beat it, where only one of the two is there."""
    if contest.rival is None and section.measure == TESTED:
        why = "every arm beside it, with labels only and with pre-training"
        yield from _one(runs[0], why, "stage|hydra", "stage=compare", f"stage.seeds={fewest_seeds()}")


def _seeds(section: Section, contest: Contest) -> Iterator[Step]:
    """As many more seeds as a difference needs, of the arms that are compared, with every number of labels of a curve."""
    names = {row["arm"] for row in (contest.best, contest.rival) if row}
    runs = [
        one
        for one in section.counted
        if one.result["arm"] in names and (contest.saved or one.result["labels"] == contest.best["labels"])
    ]
    seeds = {one.result["seed"] for one in runs}
    there = len(contest.difference.seeds) if contest.difference else len(contest.best["seeds"])
    missing = fewest_seeds() - there
    if missing <= 0 or (contest.rival is None and there > 1):
        return
    new = [max(seeds) + 1 + number for number in range(missing)]
    why = f"{missing} more seed{'s' if missing > 1 else ''}, since {fewest_seeds()} can show a difference"
    if "seeds" in _settings(runs[0].run.job, "stage"):
        words = (f"stage.seeds={missing}", f"seed={new[0]}")
    else:
        words = (f"seed={','.join(map(str, new))}",)
    yield from _again(why, runs, *words)


def _labels(section: Section, runs: Sequence[Counted], rivals: Sequence[Counted]) -> Iterator[Step]:
    """Twice as many labels; half and twice as many where one number was tried."""
    job = runs[0].run.job
    if _settings(job, "budget").get("kind") not in COUNTED:
        return
    tried = sorted({one.result["labels"] for one in section.counted})
    there = _inputs(job)
    most = max(tried)
    if len(tried) == 1:
        fewest = runs[0].result.get("classes") or 1
        counts = [n for n in (most // 4, most // 2, 2 * most) if n >= fewest and (there is None or n <= there)]
        why = "other numbers of labels, to see what each label buys"
    else:
        counts = [2 * most if there is None else min(2 * most, there)]
        why = f"{counts[0]:,} labels, to see where the curve goes"
    if counts and (len(tried) == 1 or max(counts) > most):
        yield from _again(why, [*runs, *rivals], f"budget.labels={','.join(map(str, counts))}")


def _classifier(section: Section, runs: Sequence[Counted]) -> Iterator[Step]:
    """A classifier from a pre-training, where there is none."""
    if section.measure == NEIGHBOURS:
        checkpoint = f"checkpoint={_seen_from(place_of(section), runs[0].run.folder)}"
        yield from _one(runs[0], "a classifier from it", "stage|hydra", "stage=finetune", checkpoint, "init_from=")


def _longer(runs: Sequence[Counted]) -> Iterator[Step]:
    """Pre-training for twice as long."""
    one = runs[0]
    phase = _settings(one.run.job, "schedule").get("pretrain")
    typed = {key_of(word): word.partition("=")[2] for word in one.run.words or ()}
    if not one.result["pretraining"] or not isinstance(phase, dict) or typed.get("checkpoint", "auto") != "auto":
        return
    numbers = cast(dict[str, Any], phase)
    words = []
    if "schedule.minutes" in typed:
        words = [f"schedule.minutes={_twice(typed['schedule.minutes'])}"]
    else:
        for key in ("epochs", "max_steps"):
            if isinstance(numbers.get(key), int):
                words.append(f"schedule.pretrain.{key}={2 * numbers[key]}")
    if words:
        yield from _again("pre-training for twice as long", runs, *words)


def _twice(value: str) -> str:
    try:
        return f"{2 * float(value):g}"
    except ValueError:
        return value


def _choice(section: Section, runs: Sequence[Counted]) -> Iterator[Step]:
    """Which inputs to label, as many as have a label now."""
    one = runs[0]
    there, labels = _inputs(one.run.job), one.result["labels"]
    unlabelled = _settings(one.run.job, "dataset").get("facts", {}).get("unlabelled")
    known = one.run.folder / "labels.csv"
    count = labels if there is None else min(labels, there - labels)
    words: tuple[str, ...] = ()
    if _settings(one.run.job, "budget").get("kind") in COUNTED and is_file(known):
        # The labels of the budget are all that is known.
        words = ("stage.simulate=true", f"stage.labels={_seen_from(place_of(section), known)}")
    elif unlabelled == 0:
        return
    if count > 0 and isinstance(count, int):
        why = f"labels for {count:,} more inputs: which ones, in to_label.csv, and a page to label them on"
        yield from _one(
            one, why, "stage|hydra|budget", "select", f"stage.count={count}", *words, f"seed={one.result['seed']}"
        )


def _one(one: Counted, why: str, without: str, *words: str) -> Iterator[Step]:
    """A step from the words of one run, but for its stage's."""
    if one.run.words is not None and may_be_typed_again(one.run.words):
        yield Step(why, command_line(one.run.words, words, without))


def _again(why: str, runs: Sequence[Counted], *words: str) -> Iterator[Step]:
    """A step that runs the jobs of these runs again, with other values of some settings."""
    jobs = {one.run.job.folder: one.run.words for one in runs}
    changed = {key_of(word) for word in words}
    values: dict[str, dict[str, None]] = {}
    combined: set[tuple[str, ...]] = set()
    for typed in jobs.values():
        if typed is None or not may_be_typed_again(typed):
            return
        own = {key_of(word): word for word in typed if key_of(word) not in changed and not word.startswith("hydra")}
        if values and own.keys() != values.keys():
            return  # which no single command is
        for key, word in own.items():
            values.setdefault(key, {})[word] = None
        combined.add(tuple(own.values()))
    if len(combined) != math.prod(map(len, values.values())):
        return
    kept = [
        next(iter(found)) if len(found) == 1 else f"{key}={','.join(word.partition('=')[2] for word in found)}"
        for key, found in values.items()
    ]
    is_sweep = any(len(found) > 1 for found in values.values()) or any("," in word for word in words)
    yield Step(why, command_line(kept, (*(("-m",) if is_sweep else ()), *words)))


def _would_run(command: str) -> bool:
    """Whether the command line would be accepted; of a sweep, whether its last job would, which has the most labels."""
    typed = shlex.split(command)[1:]
    words = [word if "=" in word else f"stage={word}" for word in typed if word != "-m"]
    problems: list[str] = []
    with reading(None):
        parsed = [override for word in words if (override := parsed_override(word, problems)) is not None]
    last = [
        f"{one.get_key_element()}={list(one.sweep_string_iterator())[-1]}"
        if one.is_sweep_override()
        else one.input_line
        for one in parsed
    ]
    try:
        precheck([word or "" for word in last], multirun=False)
        if "-m" not in typed:
            check_is_one_run(words)
    except ConfigError:
        return False
    return not problems


def _settings(job: SeenRun, group: str) -> dict[str, Any]:
    found = job.settings.get(group)
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


def _inputs(job: SeenRun) -> int | None:
    """How many labelled inputs the data have; None where that is not known."""
    found = dict(flattened(_settings(job, "dataset"))).get("facts.inputs")
    return found if isinstance(found, int) else None
