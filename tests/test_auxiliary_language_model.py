import json
import math
from pathlib import Path

import pytest
import torch
from toy_texts import VOCABULARY, batch_of, some_texts, transformer

from ssl_cli.errors import ConfigError
from ssl_cli.methods.causal_lm import CausalLM
from ssl_cli.methods.supervised import Supervised
from ssl_cli.randomness import Draws
from ssl_cli.report.texts import save_texts
from ssl_cli.runs.saved import saved_settings

TEXTS = some_texts(12, 14)
LABELS = torch.arange(12) % 3
DRAWS = Draws(0, "test")
WORDS = (
    "dataset=texts", "augment=whole_text", "augment.supervised.drop.p=0", "augment.supervised.max_length=32",
    "augment.pretrain.max_length=32", "backbone=transformer", "backbone.dim=16", "backbone.layers=1", "backbone.heads=2",
    "backbone.causal=true", "backbone.pooling=last", "backbone.max_length=32", "method=causal_lm", "head.keep=0",
    "schedule=smoke", "schedule.supervised.batch_size=4", "budget=all", "dataset.tokenizer.vocabulary=300",
    "runtime.threads=1", "runtime.precision=float32",
)  # fmt: skip


def classifier(weight: float | None = None, **settings) -> Supervised:
    backbone = transformer(causal=True, pooling="last", **settings)
    torch.manual_seed(1)
    head = torch.nn.Linear(backbone.dim, 3)
    return Supervised(backbone, head, 0.1) if weight is None else Supervised(backbone, head, 0.1, language_model=weight)


def test_the_loss_is_that_of_the_classes_plus_the_weight_times_that_of_the_tokens():
    plain, both = classifier(), classifier(0.5)
    of_classes, _ = plain.loss((batch_of(TEXTS),), LABELS, DRAWS)
    loss, numbers = both.loss((batch_of(TEXTS),), LABELS, DRAWS)
    model = CausalLM(both.backbone, VOCABULARY, 0.0)
    each = [model.loss((batch_of([text]),), None, DRAWS)[0] for text in TEXTS]  # a long text counts as a short one
    of_tokens = torch.stack(each).mean()
    torch.testing.assert_close(loss, of_classes + 0.5 * of_tokens)
    torch.testing.assert_close(numbers["language_model_loss"], of_tokens.detach())
    lengths = torch.tensor([len(text) + 1.0 for text in TEXTS])
    overall = (torch.stack(each) * lengths).sum() / lengths.sum()
    torch.testing.assert_close(numbers["perplexity"], overall.detach().exp(), rtol=1e-4, atol=1e-4)


def test_a_weight_of_0_is_plain_fine_tuning():
    plain, none = classifier(), classifier(0.0)
    assert plain.state_dict().keys() == none.state_dict().keys() == classifier(0.5).state_dict().keys()
    losses = [method.loss((batch_of(TEXTS),), LABELS, DRAWS)[0] for method in (plain, none)]
    for loss in losses:
        loss.backward()
    assert losses[0] == losses[1]
    for one, other in zip(plain.parameters(), none.parameters(), strict=True):
        assert (one.grad is None and other.grad is None) or torch.equal(one.grad, other.grad)


def test_it_starts_from_the_language_model_of_a_pre_training():
    """All of its weights are the backbone's, so that none is lost between the two trainings."""
    pretrained = CausalLM(transformer(causal=True, pooling="last"), VOCABULARY, 0.0)
    tuned = classifier(0.5)
    tuned.backbone.load_state_dict(pretrained.backbone.state_dict())
    assert not list(pretrained.output.parameters())
    _, numbers = tuned.loss((batch_of(TEXTS),), LABELS, DRAWS)
    wanted = pretrained.loss((batch_of(TEXTS),), None, DRAWS)[1]["perplexity"]
    torch.testing.assert_close(numbers["perplexity"], wanted)


def test_the_tokens_are_learnt_too():
    method = classifier(1.0)
    optimiser, found = torch.optim.Adam(method.parameters(), lr=0.01), []
    for _ in range(60):
        optimiser.zero_grad()
        loss, numbers = method.loss((batch_of(TEXTS),), LABELS, DRAWS)
        loss.backward()
        optimiser.step()
        found.append(numbers)
    assert found[-1]["language_model_loss"] < 0.7 * math.log(VOCABULARY.size) < found[0]["language_model_loss"]
    assert found[-1]["accuracy"] == 1


TEXT = ("dataset=texts", "augment=whole_text", "backbone=transformer", "backbone.causal=true", "backbone.pooling=mean",
        "dataset.facts={inputs:300,unlabelled:0,test:60,classes:2,cases:0,vocabulary:300,languages:0}")  # fmt: skip
NO_DROP = "augment.supervised.drop.p=0"


@pytest.mark.parametrize("stage", ["baseline", "finetune", "compare"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*TEXT, NO_DROP, "backbone.causal=false", "method=masked_lm"), r"stage\.language_model=0\.5: .*causal=true"),
        ((*TEXT[:2], "backbone=bag", *TEXT[-1:], NO_DROP), r"stage\.language_model=0\.5: .*take backbone=transformer"),
        (("dataset=synthetic",), r"stage\.language_model=0\.5: .*take backbone=transformer"),
        ((*TEXT, "method=causal_lm"), r"augment\.supervised\.drop\.p=0\.1 leaves tokens out.* set it to 0$"),
    ],
)
def test_what_can_be_no_language_model_is_refused(fitting, stage, words, said):
    with pytest.raises(ConfigError, match=said) as refused:
        fitting(f"stage={stage}", "stage.language_model=0.5", "budget.labels=100", "head.keep=0", *words)
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize("stage", ["baseline", "finetune"])
def test_frozen_features_learn_no_language(fitting, stage):
    words = (*TEXT, NO_DROP, "method=causal_lm", "head.keep=0", "stage.train=head", "stage.language_model=0.5")
    with pytest.raises(ConfigError, match=r"stage\.language_model=0\.5: stage\.train=head trains nothing"):
        fitting(f"stage={stage}", *words)


def test_compare_gives_it_to_the_arms_that_train_the_backbone(cli, tmp_path):
    rows = [{"text": f"{word} day number {n}", "label": word} for n in range(20) for word in ("fine", "dull")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = cli(
        "compare",
        "dataset.root=a.jsonl",
        "dataset.cache=cache",
        "stage.language_model=0.5",
        *WORDS,
        "hydra.run.dir=run",
    )
    assert done.returncode == 0, done.stderr
    has = {name: "language_model_loss" in last_of(tmp_path / "run" / "seed0" / name) for name in
           ("random-frozen", "labels-only", "pretrained-frozen", "new-head")}  # fmt: skip
    assert has == {"random-frozen": False, "labels-only": True, "pretrained-frozen": False, "new-head": True}


def last_of(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])


def test_a_run_that_was_saved_before_there_was_a_weight_has_none(tmp_path, smoke):
    config, run = smoke("stage=baseline")
    path = run.folder / "config.yaml"
    assert "language_model: 0.0" in path.read_text()
    path.write_text(path.read_text().replace("  language_model: 0.0\n", ""))
    assert saved_settings("stage.run", run.folder).stage == config.stage


def test_a_picture_of_texts_takes_whatever_a_network_draws(tmp_path):
    save_texts([("text", f"a{chr(number)}b") for number in (*range(32), 0x85, 0x2028, 0x2029)], tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0
