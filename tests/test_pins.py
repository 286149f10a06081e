"""What is computed stays what it was: the first ten losses of every training there is.

They are compared with tests/pins.json: to the last digit on a machine that is in it, within 1e-5 elsewhere. This rewrites
them and prints what changed; add `-k` and a case's name to rewrite one only:

    SSL_CLI_WRITE_PINS=1 pytest tests/test_pins.py -n 0

A pin is changed only together with what the program computes, and the commit that does so says in its body why. Files and
functions may move, and no pin changes with them: the strings that name the purpose of a draw (`derived_seed`, `generator`) are
part of what is computed, so they stay when what they name is called something else.

A test reads nothing but settings and the files in a run's folder. `carried_out` is all that knows where a stage's function is.
"""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pinning
import pytest

from ssl_cli.config.schema import Config
from ssl_cli.config.trust import settings_folder
from ssl_cli.runs.run import Run

TOLERANCE = 1e-5  # of a loss, on any processor; rounding alone was measured to stay below a third of it
STEPS = 10
BARE_COMMAND = "the bare command"
POINTS = 0.015  # of an accuracy, on any processor: three times what other kernels moved one by, on 1,000 test digits

# Every phase takes ten steps and says each loss; nothing else is looked at meanwhile. Plain gradients, since Adam divides a
# weight's gradient by its own size and so turns one that should be 0 and is rounding into a whole step: with it, kernels
# differ by up to 3 % of a loss after ten steps. The rates are low where that is needed for the same reason: what rounding does
# to a loss grows from step to step, and the faster the higher the rate. The default optimiser has cases in which neither happens.
PHASES = [
    word
    for phase, rate in (("pretrain", 1e-4), ("supervised", 1e-2), ("distill", 1e-2), ("semi", 1e-2))
    for word in (
        f"schedule.{phase}.max_steps={STEPS}",
        f"schedule.{phase}.epochs={STEPS}",
        f"schedule.{phase}.evaluate_every=0",
        f"schedule.{phase}.optimiser={{name: sgd, lr: {rate:f}, momentum: 0.9}}",
    )
]
ALWAYS = [*PHASES, "runtime.compile=false", "runtime.device=cpu", "budget.labels=40"]
EARLIER = "EARLIER"  # in a setting: the folder of the run that is made before

TEXTS = "TEXTS"  # in a setting: a folder with texts and translations that is made before
OF_TEXTS = ("dataset=texts", f"dataset.root={TEXTS}/train.jsonl", "dataset.tokenizer.vocabulary=300", f"dataset.cache={TEXTS}",
            "head.keep=0")  # fmt: skip
TRANSFORMER = ("backbone=transformer", "backbone.dim=16", "backbone.layers=2", "backbone.heads=2")
WHOLE = (*OF_TEXTS, *TRANSFORMER, "augment=whole_text")
CAUSAL = (*WHOLE, "method=causal_lm", "backbone.causal=true", "backbone.pooling=last", "augment.supervised.drop.p=0")

VIT = ("backbone=vit", "backbone.width=16", "backbone.depth=2", "backbone.heads=2")
BATCH_NORM = ("head=simclr_v2", "head.keep=0")
GAN = ("method.width=4", "method.latent_dim=8")
COLOURED = ("dataset.facts.shape=[3,16,16]",)
# Interpolated, then cut to whole numbers: none of these pixels is near a step, so that rounding cannot take one over it.
FEW_PIXELS = ("dataset.facts.inputs=82", "dataset.facts.cases=22", "dataset.facts.shape=[1,9,9]")
SMALL_IMAGES = ("dataset.facts.shape=[1,8,8]",)

PRETRAININGS = {
    "autoencoder": ("method=autoencoder", "method.width=4"),
    "autoencoder, cross-entropy": ("method=autoencoder", "method.width=4", "method.error=cross_entropy", "method.noise=0"),
    "barlow_twins": ("method=barlow_twins", "schedule.pretrain.optimiser.lr=1e-6", "schedule.pretrain.batch_size=64"),
    "bigan": ("method=bigan", *GAN),
    "byol": ("method=byol",),
    "dino": ("method=dino",),
    "exemplar": ("method=exemplar", "head=linear"),
    "exemplar, clusters": ("method=exemplar", "method.clusters=6", "head=mlp"),
    "gan": ("method=gan", *GAN),
    "lejepa": ("method=lejepa",),
    "inpainting": ("method=inpainting", "method.width=4"),
    "inpainting, adversarial": ("method=inpainting", "method.width=4", "method.adversarial=0.1", "method.mask=central",
                                "method.overlap=2"),
    "mae": ("method=mae", *VIT, "method.width=16"),
    "mae, normalised": ("method=mae", *VIT, "method.width=16", "method.normalise_targets=true"),
    "micle": ("method=micle", "dataset=synthetic_cases", "augment=none", *FEW_PIXELS),
    "moco": ("method=moco", "method.queue=64"),
    "moco, asymmetric": ("method=moco", "method.queue=64", "method.symmetric=false"),
    "nnclr": ("method=nnclr", "method.queue=64"),
    "patch_location": ("method=patch_location",),
    "patch_location, coarse": ("method=patch_location", "method.coarse=0.3", "method.colour=project", *COLOURED,
                               "method.patch=5", "method.gap=0", "method.jitter=0", "augment=none"),
    "rotation": ("method=rotation",),
    "simclr": ("method=simclr",),
    "simclr, queue": ("method=simclr", "method.negatives.queue=64"),
    "simclr, debias": ("method=simclr", "method.negatives.debias=0.1"),
    "simclr, cancel": ("method=simclr", "method.negatives.cancel=0.1"),
    "simsiam": ("method=simsiam", "head.projection.widths=[inputs,4]"),
    "swav": ("method=swav",),
    "masked_lm": (*WHOLE, "method=masked_lm"),
    "masked_lm, next sentence": (*WHOLE, "method=masked_lm", "method.next_sentence=true", "dataset.sentences=' and '",
                                 "backbone.segments=true", "backbone.norm=post"),
    "causal_lm": (*CAUSAL, "backbone.positions=rotary"),
    "cross_lingual": (*WHOLE, "method=cross_lingual", "method.clm=1", "dataset=parallel", f"dataset.root={TEXTS}",
                      "dataset.languages=[en,it]", "dataset.columns.language=language", "backbone.languages=true"),
    "electra": (*WHOLE, "method=electra"),
    "word2vec": (*OF_TEXTS, "method=word2vec", "backbone=bag", "augment=whole_text", "schedule.pretrain.optimiser.lr=1e-2"),
    "simclr, texts": (*OF_TEXTS, "method=simclr", "backbone=bag", "augment=text", "head=simclr"),
    "transfer": ("method=transfer", "dataset@method.source=synthetic_cases", "dataset.facts.shape=[1,9,9]",
                 *(word.replace("dataset", "method.source") for word in FEW_PIXELS)),
    "vicreg": ("method=vicreg",),
    # The same method with other networks, views, rates and inputs.
    "backbone=warfield": ("backbone=warfield",),
    "backbone=resnet18": ("backbone=resnet18", "dataset.facts.shape=[1,16,16]", "schedule.pretrain.optimiser.lr=1e-6"),
    "backbone=resnet": ("backbone=resnet", "backbone.width=0.125", *SMALL_IMAGES),
    "backbone=resnet, selective kernels": ("backbone=resnet", "backbone.width=0.125", "backbone.depth=50",
                                           "backbone.selective_kernels=true", *SMALL_IMAGES),
    "backbone=resnet9": ("backbone=resnet9", "backbone.width=4", "augment.pretrain.resolution=0.8"),
    "backbone=vit": VIT,
    "augment=natural": ("augment=natural", *COLOURED),
    "augment=warfield": ("augment=warfield", "head=warfield", "backbone=warfield"),
    "every input but the labelled ones": ("budget.pretrain_on=rest", "budget=first", "seed=1"),
    "optimiser=adamw": ("schedule.pretrain.optimiser={name: adamw, lr: 2.0e-3, momentum: 0.0, weight_decay: 1.0e-2}",),
    "optimiser=adam, file order": (  # a low rate: where gradients are nearly 0, Adam makes steps of rounding
        "schedule.pretrain.optimiser={name: adam, lr: 2.0e-5, momentum: 0.0}", "schedule.pretrain.order=file",
        "schedule.pretrain.steps_per_epoch=4", "schedule.pretrain.rate={warmup: 0.0, decay: exponential, gamma: 0.5}"),
    "optimiser=lars": ("schedule.pretrain.optimiser={name: lars, lr: 0.1, lr_scale: root, momentum: 0.9}",),
}  # fmt: skip

OTHERS = {
    "pretrain, clusters of another one's features": ("stage=pretrain", "method=exemplar", "method.clusters=6",
                                                     f"method.features={EARLIER}"),
    "finetune, of one that goes on from another one": ("stage=finetune", f"init_from={EARLIER}"),
    "baseline": ("stage=baseline",),
    "baseline, frozen": ("stage=baseline", "stage.train=head"),
    "baseline, optimiser=adamw": (
        "stage=baseline", "schedule.supervised.optimiser={name: adamw, lr: 5.0e-3, momentum: 0.0, weight_decay: 1.0e-2}",
        "schedule.supervised.order=file", "budget=random", "budget.validation=0.2"),
    "finetune, new head": ("stage=finetune",),
    "finetune, same head": ("stage=finetune", "head.keep=all"),
    "finetune, frozen": ("stage=finetune", "stage.train=head"),
    "finetune, language model": ("stage=finetune", *CAUSAL, "stage.language_model=0.5"),
    "distill": ("stage=distill",),
    "distill, from pre-trained weights": ("stage=distill", "stage.init=pretrained", "stage.teacher_input=image",
                                          "stage.alpha=0.5", "stage.temperature=0.5"),
    "semi, fixmatch": ("stage=semi", "stage.labelled_batch_size=16", "stage.fixmatch.threshold=0.1"),
    "semi, fixmatch of averages": ("stage=semi", "stage.labelled_batch_size=16", "stage.init=finetuned",
                                   "stage.fixmatch.pseudo_labels_from=ema_teacher",
                                   "stage.fixmatch.teacher_input=image", "stage.fixmatch.strong=supervised",
                                   "stage.fixmatch.temperature=0.5", "stage.fixmatch.threshold=0.1"),
    "semi, pseudo_label": ("stage=semi", "stage.labelled_batch_size=16", "stage.method=pseudo_label", "stage.init=pretrained"),
    "probe": ("stage=probe",),
    "compare": ("stage=compare", "head.keep=1"),
    "simclr_v2": ("stage=simclr_v2", "head=simclr_v2", "stage.student.width=3",
                  "schedule.supervised.optimiser.lr=0.03"),
    "benchmark": ("stage=benchmark", "stage.seeds=1", "stage.equal=epochs", *BATCH_NORM),
}  # fmt: skip
ENTRANTS = ("rotation", "gan")  # of the benchmark: with the schedule's learning rate, and with one of its own
CASES = {**{name: ("stage=pretrain", *words) for name, words in PRETRAININGS.items()}, **OTHERS}


def carried_out(config: Config, run: Run) -> Path:
    """A stage's run, finished; its folder."""
    module, _, name = config.stage.function.rpartition(".")
    getattr(importlib.import_module(module), name)(config, run)
    return run.folder


def losses(folder: Path) -> dict[str, list[float]]:
    """The losses of all trainings in a run's folder, by the folders they are in."""
    found = {}
    for path in sorted(folder.rglob("metrics.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        name = path.parent.relative_to(folder).as_posix()
        found["the run itself" if name == "." else name] = [line["loss"] for line in lines if "loss" in line]
    return found


def write_texts(folder: Path) -> None:
    """Texts with classes, languages and sentences, and translations; of numbers alone, so that they are the same everywhere."""
    known = {"en": ("one", "two", "six", "ten", "red", "sea"), "it": ("uno", "due", "sei", "dieci", "rosso", "mare")}

    def said(number: int, language: str) -> str:
        words = known[language]
        picked = [words[(number * step + step * step) % 6] for step in range(1, 4 + number % 9)]
        return " and ".join((" ".join(picked), f"{words[number % 6]} {number}"))

    rows = [
        {"text": said(n, language), "label": str(n % 2), "language": language} for n in range(60) for language in known
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = [f"{said(n, 'en')},{said(n, 'it')}\n" for n in range(100, 140)]
    (folder / "pairs.csv").write_text("en,it\n" + "".join(pairs))


@pytest.fixture
def run_of(smoke, tmp_path):
    """Carry a case out; its folder."""

    def carry_out(words: tuple[str, ...]) -> Path:
        if any(TEXTS in word for word in words):
            pytest.importorskip("tokenizers")
            write_texts(tmp_path)
            words = tuple(word.replace(TEXTS, str(tmp_path)) for word in words)
        if any(EARLIER in word for word in words):
            # Whatever a pre-training goes on from is of another method, so that only the backbone is taken over.
            earlier = carried_out(
                *smoke(*ALWAYS, "stage=pretrain", "method=autoencoder", "method.width=4", folder="earlier")
            )
            words = tuple(word.replace(EARLIER, str(earlier)) for word in words)
        if "stage=benchmark" in words:
            every = re.findall(r"@methods\.(\w+):", (settings_folder() / "stage" / "benchmark.yaml").read_text())
            words = (*words, *(f"~stage.methods.{name}" for name in every if name not in ENTRANTS))
        return carried_out(*smoke(*ALWAYS, *words))

    return carry_out


@pytest.fixture
def held(capsys):
    """Compare what was found with what is pinned, or write it down where that was asked for."""

    def hold(case: str, found: dict[str, list[float]], **tolerance: float) -> None:
        if not os.environ.get(pinning.WRITES):
            problems = pinning.check(case, found, **tolerance)
            assert not problems, "\n".join(problems)
            return
        if os.environ.get("PYTEST_XDIST_WORKER"):
            pytest.fail("pins are written by one process alone: give pytest -n 0")
        with capsys.disabled():
            print("", *pinning.rewrite(case, found, **tolerance), sep="\n", end="")

    return hold


@pytest.mark.parametrize("case", CASES)
def test_the_first_losses_are_as_pinned(run_of, held, case):
    found = losses(run_of(CASES[case]))
    short = [f"{part} has {len(values)}" for part, values in found.items() if len(values) != STEPS]
    assert not short, f"{case}: every training should have {STEPS} losses, and {', '.join(short)}"
    held(case, found, rel=TOLERANCE)


def test_every_pin_has_a_test(capsys):
    pins = pinning.pinned()
    left = set().union(pins["common"], *pins["exact"].values()) - {*CASES, BARE_COMMAND}
    if os.environ.get(pinning.WRITES):
        with capsys.disabled():
            print("", *pinning.strike_out(left), sep="\n", end="")
    else:
        assert not left, (
            f"tests/pins.json has pins that no test compares with: {', '.join(sorted(left))}; {pinning.HOW}"
        )


def test_every_case_has_a_pin():
    if not os.environ.get(pinning.WRITES):
        missing = {*CASES, BARE_COMMAND} - set(pinning.pinned()["common"])
        assert not missing, f"tests/pins.json has no pin of: {', '.join(sorted(missing))}; {pinning.HOW}"


@pytest.mark.parametrize(
    ("group", "without"),
    [
        ("method", ()),
        ("stage", ("evaluate", "export", "predict", "embed", "select", "classical", "report")),
        ("backbone", ("small", "auto", "bert_base", "gpt2_small", "xlm", "torchvision", "timm")),
        ("augment", ("digits", "auto")),
        ("head", ("simclr",)),
    ],
)
def test_every_choice_that_trains_is_in_a_case(group, without):
    """`without`: what trains nothing, is the default and so in most cases, another in other sizes, or of a library."""
    known = {word for words in CASES.values() for word in words if word.startswith(f"{group}=")}
    missing = {
        f"{group}={path.stem}" for path in (settings_folder() / group).glob("*.yaml") if path.stem not in without
    } - known
    assert not missing, f"no case of tests/test_pins.py has {', '.join(sorted(missing))}; add one; {pinning.HOW}"


@pytest.mark.slow  # three minutes on an idle core
def test_the_accuracies_of_the_bare_command_are_as_pinned(tmp_path, held):
    """In float32 and on one thread, as on any machine; without these words they are what suits this one."""
    words = ("runtime.precision=float32", "runtime.threads=1", "runtime.compile=false", "runtime.device=cpu")
    command = [sys.executable, "-m", "ssl_cli", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("outputs/compare/*/result.json")
    rows = json.loads(path.read_text())["rows"]
    held(BARE_COMMAND, {row["arm"]: row["accuracies"] for row in rows}, abs=POINTS)
