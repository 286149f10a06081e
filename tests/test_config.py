import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml

from ssl_cli.config import schema, signatures
from ssl_cli.config.build import plain
from ssl_cli.config.choices import GROUPS
from ssl_cli.config.compose import check, from_overrides, precheck
from ssl_cli.config.trust import settings_folder
from ssl_cli.errors import ConfigError
from ssl_cli.stages.fit import check_fit

CHOICES = [
    f"{path.parent.name}={path.stem}"
    for path in sorted(settings_folder().glob("*/*.yaml"))
    if path.parent.name in GROUPS
    and path.parent.name not in ("experiment", "augment", "dataset", "head", "schedule")
    and path.stem
    not in (
        "evaluate",
        "export",
        "predict",
        "embed",
        "select",
        "report",
        "listed",
        "micle",
        "mae",
        "bag",
        "transformer",
        "bert_base",
        "gpt2_small",
        "xlm",
        "masked_lm",
        "causal_lm",
        "word2vec",
        "electra",
        "cross_lingual",
        "torchvision",
        "timm",
    )
]
LISTED = Path(__file__).parent / "listed.csv"  # twenty inputs
WITH_PARTNERS = [
    *CHOICES,
    *(f"experiment={path.stem}" for path in sorted((settings_folder() / "experiment").glob("*.yaml"))),
    "schedule=warfield dataset=mnist",
    "stage=evaluate stage.run=outputs",
    "stage=export stage.run=outputs",
    "stage=predict stage.run=outputs stage.inputs=.",
    "stage=embed stage.run=outputs stage.inputs=.",
    "stage=select stage.simulate=true",
    "stage=report stage.runs=.",
    "stage=select stage.by=margin stage.run=outputs stage.simulate=true",
    "stage=select stage.by=random dataset=folder",
    f"budget=listed budget.file={LISTED}",
    "stage=evaluate stage.run=outputs dataset@stage.other=mnist",
    *(f"schedule={name}" for name in ("quick", "standard", "smoke", "auto")),
    *(
        f"dataset={name}"
        for name in ("mnist5k", "mnist", "fashion_mnist", "kmnist", "letters", "synthetic", "arrays", "folder")
    ),
    *(f"dataset=cifar10 augment=natural backbone={name}" for name in ("torchvision", "timm")),
    "dataset=synthetic_cases method=micle",
    *(f"backbone={name}" for name in ("resnet9", "auto")),
    "method=mae backbone=vit",
    "dataset=texts augment=text backbone=bag schedule=text",
    "dataset=texts augment=whole_text backbone=transformer method=masked_lm",
    "dataset=texts augment=whole_text backbone=bert_base method=masked_lm",
    "dataset=texts augment=whole_text backbone=gpt2_small method=causal_lm",
    "dataset=parallel augment=whole_text backbone=xlm method=cross_lingual",
    "dataset=commands augment=whole_text backbone=bag method=word2vec",
    "dataset=docstrings augment=whole_text backbone=transformer method=electra",
    "dataset=huggingface dataset.path=somewhere augment=text backbone=bag",
    "dataset=parallel augment=whole_text backbone=transformer method=cross_lingual dataset.languages=[de,en]",
    "dataset=texts augment=whole_text backbone=transformer backbone.causal=true backbone.pooling=last method=causal_lm",
    *(f"dataset={name} augment=natural" for name in ("cifar10", "cifar100", "svhn", "stl10")),
    *(f"augment={name}" for name in ("digits", "none", "warfield", "auto")),
    *(f"head={name}" for name in ("linear", "mlp", "simclr", "simclr_v2", "warfield")),
]


def problems(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check_fit(from_overrides(*overrides))
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize("choice", WITH_PARTNERS)
def test_every_yaml_composes_and_is_valid(choice):
    config = from_overrides(*choice.split())
    check_fit(config)
    assert plain(config)


def test_every_yaml_is_covered_by_the_test_above():
    tried = {word for choice in WITH_PARTNERS for word in choice.split()}
    there = {
        f"{path.parent.name}={path.stem}" for path in settings_folder().glob("*/*.yaml") if path.parent.name in GROUPS
    }
    assert there <= tried


@pytest.mark.parametrize("experiment", ["warfield", "mnist200"])
def test_a_saved_config_reads_back_as_the_same(experiment):
    settings = from_overrides(f"experiment={experiment}")
    assert check(yaml.safe_load(yaml.safe_dump(plain(settings)))) == settings


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ("budget.lables=5", "budget.lables: no such key; did you mean budget.labels?"),
        ("bakbone=small", "bakbone: no such key; did you mean backbone?"),
        ("backbone=resnt18", "backbone=resnt18: no such choice; did you mean resnet18?"),
        ("augment.pretrain.resolution=1.5", "augment.pretrain.resolution=1.5: must be in (0, 1]"),
        ("augment.pretrain.resolution=0.1 backbone=resnet9", "views of 3×3 do not pass backbone=resnet9"),
        (
            "augment.supervised.resolution=0.1",
            "augment.supervised.resolution=0.1: views of 3×3 do not pass backbone=small",
        ),
        (
            "augment.pretrain.resolution=0.5 method=autoencoder",
            "augment.pretrain.resolution=0.5: method=autoencoder needs views as large as the images, so 1",
        ),
        ("backbone.wdth=3", "backbone.wdth: no such key; did you mean backbone.width?"),
        ("pretrian", "pretrian: is neither a stage nor key=value; did you mean pretrain?"),
        ("budget.labels=0", "budget.labels=0: must be at least 1"),
        ("augment.scale=null", "augment.scale=null: augment.pretrain makes views of images, whose pixels need a range"),
        (
            "augment=text augment.scale=2",
            "augment.scale=2: augment.pretrain makes views of texts, which have no pixels",
        ),
        ("augment=text augment.pretrain.span.share=[0.9,0.1]", "span.share=[0.9, 0.1]: must rise, above 0 and up to 1"),
        ("augment=text augment.pretrain.span.share=[0.5,3]", "span.share=[0.5, 3]: must rise, above 0 and up to 1"),
        ("budget.labels=many", "budget.labels=many: must be a whole number"),
        ("budget.labels=4001", "budget.labels=4001: dataset=mnist5k has 4,000 labelled inputs"),
        ("budget.labels=9", "budget=balanced needs one for each of the 10 classes of dataset=mnist5k, so at least 10"),
        ("budget.labels=50,100", "budget.labels=50,100: several values are a sweep; add -m"),
        ("budget.validation=0.001", "budget.validation=0.001: takes 0 of 200 labels; both parts need at least one"),
        ("budget=fraction budget.fraction=2", "budget.fraction=2: must be in (0, 1]"),
        ("head.keep=3", "head.keep=3: head=simclr has 2 projection layers"),
        ("head.keep=some", "head.keep=some: must be a whole number at least 0 or all"),
        (
            "head=warfield dataset=cifar100 augment=natural",
            "head=warfield ends in 10, and dataset=cifar100 has 100 classes",
        ),
        ("backbone=warfield dataset=synthetic dataset.facts.shape=[1,16,16]", "inputs of 16×16 do not fit"),
        ("augment=natural", "saturation=0.8 and hue=0.2 need colour, and dataset=mnist5k is grey"),
        (
            "dataset=synthetic augment=natural dataset.facts.shape=[2,16,16] augment.pretrain.colour.strength=0",
            "augment.pretrain.grey.p=0.2: is for images that are grey, or red, green and blue, and those of dataset=synthetic "
            "have 2 channels; set it to 0",
        ),
        (
            "dataset=synthetic augment=digits dataset.facts.shape=[2,16,16]",
            "augment.supervised.colour.contrast=0.6: is for images that are grey, or red, green and blue",
        ),
        ("augment.pretrain.affine.scale=[1.2,0.8]", "augment.pretrain.affine.scale=[1.2, 0.8]: must rise"),
        ("augment.pretrain.blur.kernel=4", "augment.pretrain.blur.kernel=4: must be odd"),
        ("augment.pretrain.blur.kernel=101", "augment.pretrain.blur.kernel=101: is wider than inputs of 28×28 allow"),
        (
            "augment.pretrain.blur={p:0.5,kernel:15} augment.pretrain.resolution=0.25",
            "augment.pretrain.blur.kernel=15: is wider than inputs of 28×28 at augment.pretrain.resolution=0.25 allow",
        ),
        ("head.projection.widths=[inputs,0]", "head.projection.widths[1]=0: must be"),
        ("budget.labels=10 budget.validation=0.5", "leaves 5 of 10 labels to train on, fewer than the 10 classes"),
        ("method.temperature=0", "method.temperature=0: must be more than 0"),
        ("schedule.pretrain.optimiser.name=adamm", "must be one of sgd, adam, adamw, lars; did you mean adam?"),
        (
            "schedule.supervised.optimiser.momentum=0.9",
            "schedule.supervised.optimiser.momentum=0.9: is for sgd and lars",
        ),
        ("schedule.pretrain.batch_size=1", "schedule.pretrain.batch_size=1: must be at least 2"),
        ("schedule=warfield", "schedule.pretrain.steps_per_epoch=116: 4,000 inputs fill 7 batches of 512"),
        ("schedule.supervised.select=best_validation", "needs budget.validation above 0"),
        ("runtime.device=gpu", "runtime.device=gpu: must be auto, cpu, cuda, cuda:N, mps or xpu"),
        ("runtime.precision=half", "runtime.precision=half: must be one of auto, float32, bfloat16"),
        ("stage.train=head", "stage.train: no such key"),
        ("stage=evaluate", "stage.run=null: must be the folder of a finished run or comparison"),
        (
            "stage=evaluate stage.run=x stage.corruptions.contrast=[0.5,2]",
            "stage.corruptions.contrast[1]=2: must be in (0, 1]",
        ),
        (
            "stage=evaluate stage.run=x stage.corruptions={noise:[],blur:[],contrast:[],rotation:[],inversion:[]}",
            "stage.corruptions: all lists are empty",
        ),
        (
            "stage=semi stage.method=fixmach",
            "stage.method=fixmach: must be one of pseudo_label, fixmatch; did you mean",
        ),
        ("stage=semi stage.fixmatch.threshold=2", "stage.fixmatch.threshold=2: must be in [0, 1]"),
        (
            "stage=semi stage.pseudo_label.ramp_start=0.7",
            "stage.pseudo_label.ramp_end=0.6: must be above stage.pseudo_label.ramp_start=0.7",
        ),
        ("stage=semi stage.labelled_batch_size=0", "stage.labelled_batch_size=0: must be at least 1"),
        (
            "stage=semi schedule.semi.steps_per_epoch=99",
            "schedule.semi.steps_per_epoch=99: 4,000 inputs fill 15 batches",
        ),
        (
            "stage=semi schedule.semi.optimiser.momentum=0.9",
            "schedule.semi.optimiser.momentum=0.9: is for sgd and lars",
        ),
        ("schedule.pretrain.optimiser.betas=[0.9,1]", "schedule.pretrain.optimiser.betas[1]=1: must be in [0, 1)"),
        ("schedule.pretrain.optimiser.betas=[0.9]", "schedule.pretrain.optimiser.betas=[0.9]: must be 2 values"),
        ("method=mae", "method=mae: masks patches, which only backbone=vit has"),
        ("stage=benchmark +method@stage.methods.mae=mae", "method=mae: masks patches, which only backbone=vit has"),
        (
            "method=mae backbone=vit method.mask_ratio=0.99",
            "method=mae: mask_ratio=0.99: masks 49 of 49 patches; at least one must be masked and one visible",
        ),
        ("method=mae backbone=vit method.mask_ratio=1", "method.mask_ratio=1: must be in (0, 1)"),
        (
            "backbone=vit backbone.patch=5",
            "backbone=vit: inputs of 28×28 do not fit; sides must be multiples of patch=5",
        ),
        ("seed=-1", "seed=-1: must be at least 0"),
        ("~seed", "seed: is missing"),
        ("method=micle", "method=micle: the data set has no cases; use dataset=synthetic_cases, or"),
        ("method._target_=ssl_cli.methods.simclr.SimCLRR", "its module defines no 'SimCLRR'"),
        ("method._target_=nowhere.Thing", "there is no Python module 'nowhere'"),
        ("=", "=: names no key; must be key=value"),
        ("experiment=null", "experiment=null: must be one of benchmark, bert,"),
        ("dataset=null", "dataset=null: must be one of arrays, cifar10,"),
        ("method=null", "method=null: must be one of autoencoder, barlow_twins,"),
        ("stage=evaluate dataset@stage.other=null", "dataset@stage.other=null: must be one of arrays,"),
        ("dataset=[mnist,cifar10]", "dataset=[mnist,cifar10]: must be one of arrays,"),
        ("+method=transfer", "+method=transfer: there is one already; method=transfer replaces it"),
        ("~dataset", "dataset: is missing"),
        ("schedule.supervised=[1,2]", "schedule.supervised=[1, 2]: must be settings (epochs, steps_per_epoch,"),
        ("schedule.supervised={epoch:1}", "schedule.supervised.epoch: no such key; did you mean epochs?"),
        ("stage=benchmark stage.rates={moco:0.1}", "names what is not there; to add it, type +stage.rates={moco:0.1}"),
        ("stage=benchmark stage.methods={}", "stage.methods={}: sets nothing"),
        ("stage=benchmark stage.methods=null", "stage.methods=null: must be settings by name"),
        ("seed.more=1", "seed.more: no such key; did you mean seed?"),
        ("backbone.width=${nowhere}", "backbone.width: Interpolation key 'nowhere' not found"),
        ("hydra.mode=MULTIRUN", "hydra.mode=MULTIRUN: is a sweep; add -m instead"),
        ("hydra.job.chdir=true", "hydra.job.chdir=true: must be false; paths count from the folder where"),
        ("hydra.output_subdir=hydra", "hydra.output_subdir=hydra: must be null; a run's folder has a config.yaml"),
        ("hydra/job_logging=default", "hydra/job_logging: must write no file, since a run's folder has a run.log"),
        ("hydra.sweep.dir=x", "hydra.sweep.dir=x: is for a sweep; add -m, or leave it out"),
        ("hydra.sweeper.max_batch_size=2", "hydra.sweeper.max_batch_size=2: is for a sweep; add -m"),
        ("hydra/launcher=basic", "hydra/launcher=basic: is for a sweep; add -m"),
        ("hydra.runtime.cwd=/tmp", "hydra.runtime.cwd=/tmp: is written by Hydra, whatever is typed; leave it out"),
        (
            "dataset=synthetic budget.labels=255 budget.pretrain_on=rest",
            "budget.pretrain_on=rest: of all inputs, one is not in the budget; it must leave at least 2 to pre-train on",
        ),
        (
            "dataset=synthetic dataset.facts.inputs=1 budget=random budget.labels=1 stage=pretrain",
            "stage=pretrain: there is one input to pre-train on; there must be at least 2",
        ),
        ("hydra.run.dir=null", "hydra.run.dir=null: is none of the values that Hydra takes there"),
        ("seed=1e3", "seed=1000.0: must be a whole number"),
        ("seed=9223372036854775808", "seed=9223372036854775808: must be at most 9.223e+18, the largest"),
        ("augment.scale=1e300", "augment.scale=1e+300: must be at most 3.4e+38, the largest that can be computed with"),
        ("backbone=vit backbone.depth=100000", "backbone.depth=100000: must be in [1, 200]"),
        ("method=mae backbone=vit method.mlp_ratio=1e30", "one of its sizes is too large for any machine"),
        ("method=gan method.width=1000000", "weights alone take"),
        ("method=inpainting method.overlap=28", "overlap=28: is as wide as inputs of 28×28"),
        (
            "augment.pretrain.perspective.distortion=[]",
            "augment.pretrain.perspective.distortion=[]: needs at least one",
        ),
        ("budget.labels=1e9", "budget.labels=1000000000.0: must be a whole number"),
        ("budget=fraction budget.fraction=null", "budget.fraction=null: budget=fraction needs a share"),
        ("stage.seeds=0", "stage.seeds=0: must be at least 1"),
        ("schedule.pretrain.batch_size=100000", "there are 4,000 inputs to train on; at most that many"),
        ("stage=distill schedule.distill.steps_per_epoch=9999", "4,000 inputs fill 15 batches of 256"),
        ("stage=distill schedule.distill.optimiser.momentum=0.9", "is for sgd and lars; adamw takes 0"),
        ("stage=probe stage.layers=[]", "stage.layers=[]: must be all, or name at least one layer"),
        (
            "stage=probe stage.layers=[99]",
            "stage.layers=[99]: 99 is not there; backbone=small and head=simclr have 6 layers",
        ),
        ("stage=probe stage.layers=[7] method=rotation", "stage.layers=[7]: 7 is not there"),
        ("stage=baseline checkpoint=x", "stage=baseline starts from no finished pre-training"),
        ("stage=pretrain checkpoint=x", "stage=pretrain starts from no finished pre-training"),
        ("stage=benchmark checkpoint=x", "stage=benchmark starts from no finished pre-training"),
        (
            "stage=benchmark backbone=vit backbone.depth=1",
            "backbone=vit: has one stage, and stage=benchmark probes the last two",
        ),
        ("backbone=vit backbone.width=97", "width=97: must be a multiple of heads=3"),
        ("method=mae backbone=vit method.heads=5", "width=64: must be a multiple of heads=5"),
        ("method=exemplar method.seeds=1", "method.seeds=1: must be at least 2"),
        (
            "dataset=synthetic_cases method=micle dataset.facts.cases=1",
            "tells cases apart, and dataset=synthetic_cases has one",
        ),
        (
            "dataset=synthetic_cases method=micle dataset.facts.cases=20",
            "there are 20 cases to train on; at most that many",
        ),
        ("dataset=synthetic dataset.facts.inputs=5", "budget.labels=200: dataset=synthetic has 5 labelled inputs"),
        ("head.projection.widths=[]", "head.projection: widths=[]: must be numbers or `inputs`"),
        ("head.classifier.widths=[]", "head.classifier: widths=[]: must be numbers or `inputs`"),
        (
            "stage=baseline head=mlp head.classifier.batch_norm=true schedule.supervised.batch_size=1",
            "schedule.supervised.batch_size=1: a batch has one input, from which batch norm cannot learn",
        ),
        ("runtime.threads=100000", "runtime.threads=100000: this machine has"),
        ("stage=select", "dataset=mnist5k: every training input has a label already; stage.simulate=true counts"),
        (
            "stage=select stage.simulate=true stage.count=4001",
            "stage.count=4001: dataset=mnist5k has 4,000 training inputs without a label; at most that many",
        ),
        (
            "stage=select stage.by=margin stage.simulate=true",
            "stage.run=null: stage.by=margin asks a finished classifier; must be its folder",
        ),
        (
            "stage=select stage.by=typical stage.run=x",
            "is for stage.by=margin, entropy, margin_then_k_centre; stage.by=typical takes features of a pre-training",
        ),
        (
            "stage=select stage.by=margin stage.run=x checkpoint=y",
            "checkpoint=y: stage=select with stage.by=margin takes network and preprocessing from the classifier in stage.run",
        ),
        (
            "stage=select stage.by=random backbone=vit",
            "backbone=vit: stage=select with stage.by=random takes no network",
        ),
        ("stage=select stage.labels=nowhere.csv", "nowhere.csv: there is no such file"),
        ("stage=select stage.by=typicl", "did you mean typical?"),
        ("budget=listed", "budget.file=null: budget=listed needs a table of inputs"),
        (f"budget.file={LISTED}", "belongs to budget=listed, and only there"),
        (f"budget=listed budget.file={LISTED} budget.labels=21", "lists 20 inputs; at most that many, or null"),
        ("budget=listed budget.file=README.md", "must be CSV with a column path or item; its first line has # ssl_cli"),
        (
            f"budget=listed budget.file={LISTED} budget.validation=0.01",
            "takes 0 of 20 labels; both parts need at least one",
        ),
    ],
)
def test_a_mistake_gets_its_sentence(overrides, sentence):
    assert sentence in problems(*overrides.split())


def test_one_input_that_a_budget_leaves_is_said_once():
    assert problems("dataset=synthetic", "budget.labels=255", "budget.pretrain_on=rest").count("\n") == 0


def test_all_mistakes_come_back_at_once():
    found = problems("backbone=resnt18", "budget.lables=3", "seed=x", "method.temperature=-1").splitlines()
    assert len(found) == 4


def test_a_sweep_is_checked_as_a_whole_before_it_begins():
    with pytest.raises(ConfigError, match=r"budget\.labels=9999: dataset=mnist5k has 4,000"):
        precheck(["budget.labels=100,9999", "seed=0,1"], multirun=True)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("hydra.run.dir=x", "hydra.run.dir=x: is for a single run; a sweep takes hydra.sweep.dir"),
        ("hydra.mode=RUN", "hydra.mode=RUN: is no sweep, and -m is one"),
        ("hydra.job.chdir=true", "hydra.job.chdir=true: must be false"),
    ],
)
def test_a_sweep_refuses_what_hydra_would_pass_over(word, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        precheck(["seed=0,1", word], multirun=True)


def test_what_hydra_does_may_be_set_where_it_is_obeyed():
    assert len(precheck(["seed=0,1", "hydra.sweep.dir=x", "hydra.launcher._target_=a.b"], multirun=True)) == 2
    assert precheck(
        ["hydra.run.dir=x", "hydra.verbose=true", "hydra.mode=RUN", "+hydra.job.env_set.A=b"], multirun=False
    )


def test_hydras_settings_in_ones_own_folder_are_checked_too(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text("# @package _global_\nhydra: {job: {chdir: true}}\n")
    with pytest.raises(ConfigError, match=r"hydra\.job\.chdir=true: must be false"):
        precheck(["experiment=mine"], multirun=False, extra_folder=str(tmp_path))


def test_paths_are_resolved_where_the_command_was_typed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    root = from_overrides("dataset=mnist", "dataset.root=digits").dataset.arguments["root"]
    assert root == Path(tmp_path / "digits")


def test_types_may_be_quoted_or_named_in_the_module(monkeypatch, tmp_path):
    (tmp_path / "own_types.py").write_text(
        "import typing\nfrom typing import Annotated\nfrom ssl_cli.config import schema\nimport elsewhere\n"
        "Side = Annotated[int, '[4, inf)']\nHIDDEN = elsewhere.thing[3]\n"
        "def made(side: Side, share: 'Fraction', count: schema.Count, kind: typing.Literal['a', 'b'], other: HIDDEN): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = {name: parameter.annotation for name, parameter in signatures.parameters("own_types.made").items()}
    assert found == {
        "side": Annotated[int, "[4, inf)"],
        "share": schema.Fraction,
        "count": schema.Count,
        "kind": Literal["a", "b"],
        "other": Any,
    }
