"""Every finished run says by one hash what shaped it, and an older result is refused by one sentence."""

import json

import pytest

from ssl_cli.errors import ConfigError
from ssl_cli.runs import identity
from ssl_cli.stages.compare import compare
from ssl_cli.stages.distill import distill
from ssl_cli.stages.evaluate import evaluate
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.pretrain import pretrain
from ssl_cli.stages.probe import probe
from ssl_cli.stages.semi import semi

CARRY_OUT = {
    "pretrain": pretrain,
    "finetune": finetune,
    "baseline": finetune,
    "probe": probe,
    "distill": distill,
    "semi": semi,
}


@pytest.fixture
def identity_of(smoke):
    """The identity of a stage's run with some overrides."""
    count = iter(range(100))

    def find(stage: str, *overrides: str) -> str:
        settings, run = smoke(f"stage={stage}", "budget.labels=20", *overrides, folder=f"run{next(count)}")
        return CARRY_OUT[stage](settings, run)["identity"]

    return find


@pytest.mark.parametrize("stage", ["baseline", "finetune", "probe", "distill", "semi"])
def test_what_shapes_a_result_counts_and_what_is_only_shown_does_not(identity_of, stage):
    phase = {"distill": "distill", "semi": "semi"}.get(stage, "supervised")
    first = identity_of(stage)
    assert identity_of(stage, f"schedule.{phase}.log_every=7", "runtime.checkpoint_seconds=9") == first
    changed = [
        identity_of(stage, word) for word in ("seed=1", "budget.labels=30", f"schedule.{phase}.optimiser.lr=0.5")
    ]
    assert len({first, *changed}) == 4


def test_a_fine_tuning_counts_by_the_pretraining_that_it_starts_from(identity_of):
    assert identity_of("finetune", "method.temperature=0.3") != identity_of("finetune")
    assert identity_of("baseline", "method.temperature=0.3") == identity_of("baseline")


def test_a_student_counts_by_what_its_teacher_was_and_not_by_where_it_lies(smoke, identity_of):
    teachers = []
    for place, seed in (("one", 0), ("two", 0), ("three", 0)):
        words = ("augment=none",) if place == "three" else ()
        config, run = smoke("stage=baseline", "budget.labels=20", f"seed={seed}", *words, folder=place)
        finetune(config, run)
        teachers.append(identity_of("distill", f"stage.teacher={run.folder}"))
    assert teachers[0] == teachers[1] != teachers[2]


def test_runs_that_set_others_side_by_side_have_one_too(smoke):
    config, run = smoke("stage=compare", "budget.labels=20")
    first = compare(config, run)["identity"]
    config, other = smoke("stage=compare", "budget.labels=20", "augment.supervised.blur.p=0", folder="other")
    assert compare(config, other)["identity"] != first
    only_noise = "stage.corruptions={noise: [0.1], blur: [], contrast: [], rotation: [], inversion: []}"
    words = ("stage=evaluate", f"stage.run={run.folder}", only_noise)
    evaluated = evaluate(*smoke(*words, folder="evaluated"))["identity"]
    assert len(evaluated) == len(first) == 16


def test_the_format_number_changes_every_identity(monkeypatch):
    before = identity.identity({"a": 1})
    monkeypatch.setattr(identity, "FORMAT", identity.FORMAT + 1)
    assert identity.identity({"a": 1}) != before


def test_a_result_of_another_version_is_refused_by_one_sentence_and_not_found(smoke):
    config, run = smoke("stage=pretrain", folder="outputs/old")
    pretrain(config, run)
    result = json.loads((run.folder / "result.json").read_text())
    del result["format"]
    (run.folder / "result.json").write_text(json.dumps(result))
    named, tuned = smoke("stage=finetune", "budget.labels=20", f"checkpoint={run.folder}", folder="named")
    with pytest.raises(ConfigError, match="is a run of another version of this program"):
        finetune(named, tuned)
    found, tuned = smoke("stage=finetune", "budget.labels=20", folder="found")
    assert finetune(found, tuned)["pretraining"]["folder"] == str(tuned.folder / "pretrain")
