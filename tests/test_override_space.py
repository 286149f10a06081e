"""A command line is refused with a sentence for each mistake before anything is trained, or it trains: for any line.

The space of settings is read from `conf/`, so that what is added there is drawn here too.
"""

import contextlib
import importlib
import json
import math
import os
import re
import sys
import tempfile
import types
import typing
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import hydra
import pytest
import torch
from finished_runs import pictures
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from PIL import Image

from ssl_cli.config import signatures
from ssl_cli.config.choices import GROUPS
from ssl_cli.config.compose import precheck, resolved
from ssl_cli.config.groups import groups
from ssl_cli.config.schema import Component, Config, DatasetComponent
from ssl_cli.config.trust import settings_folder
from ssl_cli.config.typecheck import anything, typed
from ssl_cli.errors import ConfigError, TrainingError
from ssl_cli.runs.run import Run
from ssl_cli.stages.automatic import settings_for
from ssl_cli.stages.fit import check_fit

LINES = int(os.environ.get("SSL_CLI_LINES", "2000"))  # of the slow test
CHOICES = {name: group.choices for name, group in groups().items()}
MADE = ("synthetic", "synthetic_cases")  # data sets that are made on the spot; lines with others are checked, not run
CASES = {"synthetic": 0, "synthetic_cases": 20}
PHASES = ("pretrain", "supervised", "distill", "semi")
BATCH, STEPS = 16, 2
TINY = (
    "outputs=outputs", "budget.labels=12", "runtime.threads=1", "runtime.precision=float32", "runtime.compile=false",
    *(f"schedule.{phase}.batch_size={BATCH}" for phase in PHASES),
    *(f"schedule.{phase}.{key}" for phase in PHASES for key in ("epochs=1", f"max_steps={STEPS}", "steps_per_epoch=null")),
)  # fmt: skip
# What makes single choices small. A new choice needs none of it, if its own settings are small enough for a test.
SMALLER = {
    "backbone=small": ("backbone.width=4",), "backbone=resnet": ("backbone.width=0.125",),
    "backbone=vit": ("backbone.width=12", "backbone.depth=1"), "stage=compare": ("stage.seeds=1",),
    "stage=simclr_v2": ("stage.seeds=1", "stage.student.width=4"), "stage=benchmark": ("stage.seeds=1", "stage.seconds=0.01"),
    "backbone=bag": ("backbone.dim=8",), "backbone=transformer": ("backbone.dim=8", "backbone.layers=1", "backbone.heads=2"),
    "method=moco": ("method.queue=40",), "method=nnclr": ("method.queue=40",),
    "stage=predict": ("stage.run=CLASSIFIER", "stage.inputs=PICTURES"), "stage=evaluate": ("stage.run=CLASSIFIER",),
    "stage=embed": ("stage.run=PRETRAINED", "stage.inputs=PICTURES", "stage.map=pca"), "stage=export": ("stage.run=PRETRAINED",),
    "stage=report": ("stage.runs=[CLASSIFIER,COMPARISON]",), "stage=select": ("stage.count=3",),
    "method=exemplar": ("method.seeds=40",), "method=transfer": ("dataset@method.source=synthetic_cases",),
    "budget=listed": ("budget.labels=null", "budget.file=CLASSIFIER/labels.csv"),
}  # fmt: skip
NEEDS = {
    "method=mae": {"backbone": "vit"},
    "method=micle": {"dataset": "synthetic_cases"},
}  # other choices, mostly drawn too
LARGEST = 2048  # of any whole number in a network, a method or a stage that is run here

# What a setting's type does not allow, or what looks like something else than it is.
ODD = (
    "null", "''", "text", "true", "-1", "0", "1.5", "1e9", "1e3", "nan", "inf", "-.inf", "[]", "{}", "[1,2]", "[null]",
    "{a:1}", "${nowhere}", "[[1]]", "'3'", "None", "1_000", "0x10", "é", "a b", "auto", "100000",
)  # fmt: skip
WHOLE = (0, 1, 2, 3, 4, 5, 7, 12, 13, 16, 48, 53, 97, 512, 10**5, 10**9, 2**31, 2**63, 2**64)
REAL = (0.0, 1e-12, 1e-3, 0.1, 0.5, 0.999, 1.0, 1.5, 3.0, 90.0, 1e3, 1e6, 1e30, 1e300)
TEXTS = ("dataset.root=TOYFILE", "dataset.cache=TOYCACHE", "dataset.tokenizer.vocabulary=300",
         "dataset.facts={inputs:48,unlabelled:0,test:12,classes:3,cases:0,vocabulary:300,languages:0}")  # fmt: skip
FOR_TEXTS = {
    "method": ("masked_lm", "causal_lm", "electra", "word2vec", "cross_lingual", "simclr", "vicreg", "byol"),
    "backbone": ("bag", "transformer"), "augment": ("text", "whole_text"),
}  # fmt: skip
FOLDERS = ("PRETRAINED", "CLASSIFIER", "COMPARISON", "nowhere", "a/b", "..")  # the first are made once; see `finished`


@dataclass(frozen=True)
class Setting:
    """A key of the command line, the type it is declared with, and what it is where nothing is typed."""

    key: str
    kind: Any
    value: Any


@cache
def config_of(group: str, choice: str) -> Config:
    """What settings are where nothing but this choice is typed; of group '' where nothing is."""
    chosen = [f"{group}={choice}"] if group else []
    with hydra.initialize_config_dir(str(settings_folder()), version_base="1.3"):
        composed = resolved(hydra.compose("config", overrides=chosen))
    problems: list[str] = []
    config = typed(composed, Config, "", problems, anything)
    assert not problems
    return config


@cache
def settings_of(group: str, choice: str) -> tuple[Setting, ...]:
    """Every setting that a choice has, with its type; of group '' those that belong to none."""
    found = tuple(_settings(config_of(group, choice), Config, ""))
    if group:
        return tuple(s for s in found if s.key.startswith(f"{group}.") and not s.key.endswith((".name", "._target_")))
    return tuple(s for s in found if "." not in s.key and s.key not in GROUPS)


def _settings(value: Any, kind: Any, key: str) -> typing.Iterator[Setting]:
    prefix = f"{key}." if key else ""
    if isinstance(value, Component):
        yield Setting(key, type(value), value)
        taken = signatures.parameters(value.path)
        for name, item in value.arguments.items():
            yield from _settings(item, taken[name].annotation, f"{prefix}{name}")
    elif is_dataclass(value):
        if key:
            yield Setting(key, type(value), value)
        hints = typing.get_type_hints(type(value), include_extras=True)
        for field in fields(value):
            yield from _settings(getattr(value, field.name), hints[field.name], f"{prefix}{field.name}")
    elif isinstance(value, dict):
        yield Setting(key, kind, value)
        for name, item in value.items():
            yield from _settings(item, get_args(kind)[1], f"{prefix}{name}")
    else:
        yield Setting(key, kind, value)


def values(kind: Any) -> st.SearchStrategy[str]:
    """Texts of values of a type, most of them near the edges of its interval."""
    origin = get_origin(kind)
    if origin is Annotated:
        base, interval = get_args(kind)[:2]
        low, high = (float(edge) for edge in re.fullmatch(r"[\[(](\S+), (\S+)[\])]", interval).groups())
        edges = [edge for edge in (low, high) if math.isfinite(edge)]
        if base is int:
            near = [int(edge) + step for edge in edges for step in (-1, 0, 1)]
            return st.sampled_from([str(number) for number in (*near, *WHOLE)])
        near = [number for edge in edges for number in (edge - 1e-6, edge, edge + 1e-6)]
        return st.sampled_from([repr(number) for number in (*near, *REAL)])
    if origin in (Union, types.UnionType):
        return st.one_of(*(values(part) for part in get_args(kind)))
    if origin is Literal:
        return st.sampled_from([str(option) for option in get_args(kind)])
    if origin is list:
        return st.lists(values(get_args(kind)[0]), max_size=4).map(lambda items: f"[{','.join(items)}]")
    if origin is tuple:
        return st.tuples(*map(values, get_args(kind))).map(lambda items: f"[{','.join(items)}]")
    simple = {
        int: st.sampled_from([str(number) for number in (-1, *WHOLE)]),
        float: st.sampled_from([repr(number) for number in (-1.0, *REAL)]),
        bool: st.sampled_from(["true", "false"]),
        type(None): st.just("null"),
        Path: st.sampled_from(FOLDERS),
        str: st.sampled_from(["cpu", "auto", "text"]),
    }
    return simple.get(kind, st.sampled_from(ODD))


def misspelt(key: str) -> st.SearchStrategy[str]:
    """A key with a letter too few or twice."""
    places = st.integers(0, len(key) - 1)
    return st.one_of(places.map(lambda i: key[:i] + key[i + 1 :]), places.map(lambda i: key[:i] + key[i] + key[i:]))


@st.composite
def odd_words(draw: st.DrawFn, keys: list[str]) -> str:
    """A word that is no plain KEY=VALUE, or one whose key or value is not there."""
    key = draw(st.sampled_from(keys))
    group = draw(st.sampled_from(GROUPS))
    choice = draw(st.sampled_from(CHOICES[group]))
    odd = draw(st.sampled_from(ODD))
    return draw(
        st.one_of(
            misspelt(key).map(lambda word: f"{word}={odd}"),
            misspelt(choice).map(lambda word: f"{group}={word}"),
            st.sampled_from(
                [
                    f"{group}=null", f"{group}={odd}", f"+{group}={choice}", f"++{group}={choice}", f"~{group}",
                    f"~{group}={choice}", f"{group}=[{choice}]", f"{group}={choice},{choice}", f"/{group}={choice}",
                    f"{group}@{key}={choice}", f"+{group}@{key}={choice}", f"{group}/{choice}=1", f"{group}.name={odd}",
                    f"{group}._target_={odd}", f"{group}._target_=os.getcwd", f"+{group}.more={odd}",
                    f"~{key}", f"+{key}={odd}", f"++{key}={odd}", f"{key}.more={odd}", f"{key}", f"{key}=", f"={odd}",
                    f"{key}={odd}={odd}", f"{key}=[", f"{key}=1,2", f"+new={odd}", f"++new.er={odd}", choice, "=", "~",
                    f"~{key}={odd}", f"+{key}.more={odd}", f"{key}[0]={odd}", "",
                ]
            ),
        )
    )  # fmt: skip


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, ...]:
    """A command line: choices, what makes them small, and a few settings, good and bad."""
    stage = draw(st.sampled_from(["baseline", "finetune", "pretrain", "probe", "semi", "distill", *CHOICES["stage"]]))
    chosen = {"stage": stage, "dataset": draw(st.sampled_from([*MADE * 6, *CHOICES["dataset"]]))}
    chosen["schedule"] = draw(st.sampled_from(["smoke"] * 3 + [*CHOICES["schedule"]]))
    for group, often in (("method", 5), ("head", 2), ("backbone", 1), ("augment", 1), ("budget", 1)):
        if draw(st.integers(0, 7)) < often:
            chosen[group] = draw(st.sampled_from(CHOICES[group]))
    if draw(st.integers(0, 40)) == 0:
        chosen["experiment"] = draw(st.sampled_from(CHOICES["experiment"]))
    if draw(st.integers(0, 3)):
        chosen |= needed(chosen)
    usual = {name: group.default for name, group in groups().items() if group.default} | chosen
    there = [*settings_of("", ""), *(s for name, choice in usual.items() for s in _of(name, choice))]
    keys = [setting.key for setting in there]
    words = small(chosen)
    if stage == "benchmark":
        kept = draw(st.sampled_from(METHODS))
        words += without_methods_but(kept)
        there = [s for s in there if not s.key.startswith("stage.methods.") or s.key.startswith(kept)]
    for _ in range(draw(st.integers(0, 3))):
        part = draw(st.sampled_from(sorted({setting.key.partition(".")[0] for setting in there})))
        setting = draw(st.sampled_from([s for s in there if s.key.partition(".")[0] == part]))
        odd = draw(st.integers(0, 7)) == 0
        words.append(f"{setting.key}={draw(st.sampled_from(ODD) if odd else values(setting.kind))}")
    if draw(st.integers(0, 7)) == 0:
        words.append(draw(odd_words(keys)))
    return tuple(words)


METHODS = [s.key for s in settings_of("stage", "benchmark") if re.fullmatch(r"stage\.methods\.\w+", s.key)]


def without_methods_but(kept: str) -> list[str]:
    """The words that leave one method of a benchmark."""
    return [f"~{key}" for key in METHODS if key != kept]


def needed(chosen: dict[str, str]) -> dict[str, str]:
    """The other choices that some need."""
    return {k: v for group, choice in chosen.items() for k, v in NEEDS.get(f"{group}={choice}", {}).items()}


def small(chosen: dict[str, str]) -> list[str]:
    """The words that choose these, as small as a test wants them. What a stage does not take is left out, most often."""
    usual = {name: group.default for name, group in groups().items() if group.default} | chosen
    words = [f"{group}={choice}" for group, choice in chosen.items()] + list(TINY)
    words += [word for name, choice in usual.items() for word in SMALLER.get(f"{name}={choice}", ())]
    if usual["dataset"] in CASES:
        words.append(_facts(usual["dataset"], colours=3 if usual["augment"] == "natural" else 1))
    if usual["budget"] in ("all", "fraction"):
        words[words.index("budget.labels=12")] = "budget.validation=0"
    takes = config_of("stage", usual["stage"]).stage.takes
    return [word for word in words if not takes or re.match(r"\w+", word)[0] in ("stage", *takes)]


@st.composite
def lines_for_texts(draw: st.DrawFn) -> tuple[str, ...]:
    """A command line on a small file of texts: choices that are for texts, and a few of their settings, good and bad."""
    stages = [
        "baseline",
        "finetune",
        "pretrain",
        "probe",
        "semi",
        "distill",
        "compare",
        "classical",
        "select",
        "benchmark",
    ]
    chosen = {"stage": draw(st.sampled_from(stages)), "dataset": "texts", "schedule": "smoke"}
    chosen |= {group: draw(st.sampled_from(choices)) for group, choices in FOR_TEXTS.items()}
    words = [*(f"{group}={choice}" for group, choice in chosen.items()), *TINY, *TEXTS, "head.keep=0"]
    words += [word for group, choice in chosen.items() for word in SMALLER.get(f"{group}={choice}", ())]
    if chosen["stage"] == "benchmark":  # of the methods that are for texts too
        words += without_methods_but("stage.methods.vicreg")
    if chosen["method"] == "causal_lm" and draw(st.booleans()):
        words += ["backbone.causal=true", "backbone.pooling=last", "augment.supervised.drop.p=0"]
    usual = {name: group.default for name, group in groups().items() if group.default} | chosen
    there = [s for name in ("stage", "backbone", "augment", "method", "dataset") for s in _of(name, usual[name])]
    for _ in range(draw(st.integers(0, 3))):
        setting = draw(st.sampled_from(there))
        odd = draw(st.integers(0, 7)) == 0
        words.append(f"{setting.key}={draw(st.sampled_from(ODD) if odd else values(setting.kind))}")
    return tuple(words)


def _facts(dataset: str, colours: int = 1) -> str:
    return f"dataset.facts={{inputs:48,unlabelled:4,test:12,classes:3,shape:[{colours},28,28],cases:{CASES[dataset]}}}"


def _of(group: str, choice: str) -> tuple[Setting, ...]:
    return () if group == "experiment" else settings_of(group, choice)


@cache
def finished(root: Path) -> dict[str, Path]:
    """Finished runs, that settings may name."""
    made = {"PRETRAINED": "pretrain", "CLASSIFIER": "baseline", "COMPARISON": "compare"}
    folders = {"TOYFILE": root / "toy.jsonl", "TOYCACHE": root / "cache", "PICTURES": root / "pictures"}
    rows = [
        {"text": f"the {word} number {n} is here", "label": word} for n in range(20) for word in ("sea", "sun", "sky")
    ]
    folders["TOYFILE"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    folders["PICTURES"].mkdir()
    for number, image in enumerate(pictures(3, 0)[0]):
        Image.fromarray(image).resize((28, 28)).save(folders["PICTURES"] / f"{number}.png")
    for name, stage in made.items():
        words = (
            f"stage={stage}",
            "dataset=synthetic",
            _facts("synthetic"),
            "schedule=smoke",
            "backbone.width=4",
            *TINY,
        )
        (config,) = precheck(words, multirun=False)
        folders[name] = root / stage
        _carry_out(config, Run(folders[name], config))
    return folders


def _carry_out(config: Config, run: Run) -> dict[str, Any]:
    module, _, name = config.stage.function.rpartition(".")
    return getattr(importlib.import_module(module), name)(config, run)


def outcome(line: tuple[str, ...], shared: Path) -> str:
    """What becomes of a command line; AssertionError where that is neither a refusal in time nor a training."""
    folders = finished(shared)
    words = [re.sub("|".join(folders), lambda name: str(folders[name[0]]), word) for word in line]
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        here = Path(name)
        try:
            (config,) = precheck(words, multirun=False)
            check_fit(config)
        except ConfigError as error:
            assert not list(here.iterdir()), "a refused line leaves nothing"
            _check_sentences(error, words)
            return "refused"
        if not _is_small(config, folders["TOYFILE"]):
            return "accepted, too large to run here"
        try:
            config = settings_for(*words)
        except ConfigError as error:
            _check_sentences(error, words)
            return "refused by what the data decide"
        if not _is_small(config, folders["TOYFILE"]):
            return "accepted, too large to run here"
        run = Run(here / "run", config)
        try:
            result = _carry_out(config, run)
        except ConfigError as error:
            run.discard()
            assert not run.folder.exists(), "a refused run leaves nothing"
            _check_refused_in_time(error, here, words)
            return "refused once data was read"
        except TrainingError as error:
            _check_divergence(str(error))
            return "diverged"
        finally:
            torch.set_num_threads(1)
        assert run.result is not None
        assert _is_finite(result)
        return "finished"


def _check_sentences(error: ConfigError, words: list[str]) -> None:
    """Each problem is one line that names a key, or the word that was typed."""
    assert error.problems
    assert len(set(error.problems)) == len(error.problems), "the same twice"
    for problem in error.problems:
        assert "\n" not in problem
        assert not re.search(r"Traceback|object at 0x|<class|NoneType|dataclass\(", problem), problem
        named = re.match(r"[+~/]*[\w.@/\[\]-]+[=:,]", problem) or any(word and word in problem for word in words)
        named = named or ("" in words and problem.startswith("'': "))
        assert named, f"names no key: {problem}"


def _check_divergence(sentence: str) -> None:
    assert re.search(r"finite|the loss is|the run means nothing", sentence), sentence


def _check_refused_in_time(error: ConfigError, folder: Path, words: list[str]) -> None:
    assert not _trained(folder), f"refused after training began: {error}"
    _check_sentences(error, words)


def _trained(folder: Path) -> list[Path]:
    return [path for name in ("metrics.jsonl", "checkpoint.pt") for path in folder.rglob(name)]


def _is_small(config: Config, toy: Path) -> bool:
    """Whether it can be run here at all: bounds of this test, not of the program."""
    takes = config.stage.takes
    if takes and "dataset" not in takes:
        return config.runtime.device in ("auto", "cpu")
    facts = config.dataset.arguments.get("facts")
    is_toy = config.dataset.arguments.get("root") == toy
    if not (is_toy or config.dataset.name in MADE) or None in vars(facts).values():
        return False
    if facts.inputs + facts.unlabelled + facts.test > 1000:
        return False
    if math.prod(getattr(facts, "shape", ())) > 10_000 or facts.classes > 100:
        return False
    if any(isinstance(a, DatasetComponent) and a.name not in MADE for a in _parts(config.method)):
        return False
    for phase in config.stage.phases:
        how = getattr(config.schedule, phase)
        if min(how.epochs * 60, how.max_steps or math.inf) > 60:
            return False
    if config.schedule.minutes is not None:
        return False  # steps are tried for seconds
    if getattr(config.stage, "seeds", 1) > 2 or getattr(config.stage, "seconds", 0) > 1:
        return False
    if config.runtime.processes not in ("auto", 1):
        return False  # tests/test_processes.py has these
    if config.runtime.compile is True or config.runtime.device not in ("auto", "cpu"):
        return False  # a minute
    numbers = [
        n for part in (config.backbone, config.head, config.method, config.augment, config.stage) for n in _parts(part)
    ]
    return all(n <= LARGEST for n in numbers if isinstance(n, int)) and len(numbers) < 1000


def _parts(value: Any) -> typing.Iterator[Any]:
    """Everything in settings, from the inside out."""
    inside: list[Any] = []
    if isinstance(value, Component):
        inside = list(value.arguments.values())
    elif is_dataclass(value):
        inside = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, dict):
        inside = list(value.values())
    elif isinstance(value, (list, tuple)):
        inside = list(value)
    for item in inside:
        yield from _parts(item)
    yield value


def _is_finite(value: Any) -> bool:
    return all(math.isfinite(part) for part in _parts(value) if isinstance(part, float))


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("finished")


LOOSE = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}


@settings(max_examples=200, derandomize=True, database=None, **LOOSE)
@given(line=lines())
def test_a_line_is_refused_in_time_or_trains(line, shared):
    note(" ".join(line))
    outcome(line, shared)


@settings(max_examples=12, derandomize=True, database=None, **LOOSE)
@given(line=lines_for_texts())
def test_a_line_for_texts_is_refused_in_time_or_trains(line, shared):
    pytest.importorskip("tokenizers")
    note(" ".join(line))
    outcome(line, shared)


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Counter[str]]:
    """How many lines had which outcome, which is printed in the end, also of a test that was interrupted."""
    counted = Counter[str]()
    yield counted
    print(f"\n{sum(counted.values())} lines: {dict(counted)}", file=sys.__stderr__)


@pytest.mark.slow
@settings(max_examples=LINES, phases=[Phase.generate, Phase.shrink], **LOOSE)
@given(line=st.one_of(lines(), lines(), lines(), lines_for_texts()))
def test_thousands_of_lines_are_refused_in_time_or_train(line, shared, outcomes):
    note(" ".join(line))
    outcomes[outcome(line, shared)] += 1


def test_the_space_has_every_group_and_every_setting_a_type():
    for group in GROUPS:
        for choice in CHOICES[group]:
            assert all(setting.kind is not Any for setting in _of(group, choice)), group
    assert {"seed", "init_from", "checkpoint", "outputs"} <= {setting.key for setting in settings_of("", "")}


# What is only checked: it is for texts, which have lines of their own, reads files that are not here, or has fixed sizes.
ONLY_CHECKED = {
    "stage": (), "budget": (), "schedule": (), "runtime": (), "method": (*(TEXT_METHODS := ("masked_lm", "causal_lm", "electra",
    "word2vec", "cross_lingual")),), "head": ("warfield",), "augment": FOR_TEXTS["augment"],
    "backbone": ("timm", "torchvision", "bert_base", "gpt2_small", "xlm", *FOR_TEXTS["backbone"]),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen",
    [{"stage": "pretrain", group: choice} for group, left in ONLY_CHECKED.items() for choice in CHOICES[group]
     if choice not in left],
    ids=lambda chosen: "-".join(chosen.values()),
)  # fmt: skip
def test_each_choice_is_in_the_space_of_lines_that_train(chosen, shared):
    chosen = {"dataset": "synthetic", "schedule": "smoke", **chosen}
    words = small(chosen | needed(chosen))
    words += without_methods_but("stage.methods.vicreg") if chosen["stage"] == "benchmark" else []
    assert outcome(tuple(words), shared) == "finished"
