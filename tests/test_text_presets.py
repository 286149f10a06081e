"""Presets for texts: small ones as they stand, the papers' made small, and the full shapes."""

import csv
from pathlib import Path

import pytest
import torch
from toy_texts import BILINGUAL, VOCABULARY, batch_of, some_texts

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.tokens import Vocabulary
from ssl_cli.methods.causal_lm import CausalLM
from ssl_cli.methods.masked_lm import MaskedLM
from ssl_cli.models.backbones.transformer import Transformer
from ssl_cli.randomness import Draws
from ssl_cli.stages.compare import compare
from ssl_cli.stages.finetune import finetune

STAGES = {"compare": compare, "finetune": finetune}
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
FEW = (
    "dataset.tokenizer.vocabulary=300", "budget=all", "runtime.threads=1", "runtime.precision=float32",
    "budget.labels=null", "schedule.supervised.steps_per_epoch=null",
    *(f"schedule.{name}.{key}" for name in ("pretrain", "supervised") for key in ("max_steps=2", "batch_size=4", "epochs=1")),
)  # fmt: skip
SMALL = ("backbone.dim=16", "backbone.layers=2", "backbone.heads=2")


def write(path: Path, header: list[str], rows: list) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def files(tmp_path):
    """Labelled texts with documents and languages, and translations of others."""
    root = tmp_path / "files"
    root.mkdir()

    def text(number: int) -> str:
        return " ".join(WORDS[(number * step) % 12] for step in range(1, 9)) + f" {number}"

    rows = [
        [text(2 * number + part), "ab"[number % 2], number, ("en", "de")[number % 2]]
        for number in range(24)
        for part in range(2)
    ]
    write(root / "train.csv", ["text", "label", "document", "language"], rows)
    write(root / "pairs.csv", ["en", "de"], [[text(100 + number), text(200 + number)] for number in range(12)])
    return root


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("bert_paper", SMALL),
        ("gpt_paper", SMALL),
        ("xlm_paper", (*SMALL, "dataset.languages=[en,de]")),
        ("xlm", (*SMALL, "dataset.languages=[en,de]")),
        ("hate_speech", ()),
        ("bert", (*SMALL, "dataset=texts", "dataset.columns.document=document")),
        ("gpt", (*SMALL, "dataset=texts")),
    ],
)
def test_each_preset_trains_two_steps_of_everything_on_small_files(tmp_path, smoke, files, name, overrides):
    composed = from_overrides(f"experiment={name}")
    usual = (
        f"dataset={composed.dataset.name}",
        f"schedule={composed.schedule.name}",
        "backbone=" + composed.backbone.name,
    )
    config, run = smoke(
        f"experiment={name}", *usual, f"dataset.root={files}", f"dataset.cache={tmp_path / 'cache'}", *FEW, *overrides
    )
    assert config.method == composed.method
    result = STAGES[config.stage.name](config, run)
    assert 0 <= result["test_accuracy"] <= 1


def made(choice: str, vocabulary: Vocabulary) -> Transformer:
    return Transformer(
        vocabulary, **from_overrides(f"backbone={choice}", "dataset=texts", "augment=text").backbone.arguments
    )


@pytest.mark.parametrize(
    ("choice", "tokens", "languages", "parameters"),
    [
        ("bert_base", 30_522, (), 108_891_648),  # that of the library transformers, without its pooler
        ("gpt2_small", 50_257, (), 124_439_808),
        ("xlm", 95_000, tuple("abcdefghijklmno"), 248_976_384),
    ],
)
def test_the_full_shapes_have_as_many_parameters_as_the_published_models(choice, tokens, languages, parameters):
    with torch.device("meta"):
        network = made(choice, Vocabulary(tokens, 0, 1, 2, 3, 4, languages=languages))
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize("choice", ["bert_base", "gpt2_small", "xlm"])
def test_the_full_shapes_take_a_step(choice):
    vocabulary = BILINGUAL if choice == "xlm" else VOCABULARY
    network = made(choice, vocabulary)
    method = CausalLM(network, vocabulary, 0.8) if network.causal else MaskedLM(network, vocabulary, 0.3, False)
    texts = some_texts(2, longest=4)
    batch = batch_of(texts, [0, 1] if choice == "xlm" else None, vocabulary)
    loss, _ = method.loss((batch,), None, Draws(0, "test", 0))
    loss.backward()
    moved = [
        parameter for parameter in method.parameters() if parameter.grad is not None and parameter.grad.abs().sum() > 0
    ]
    assert len(moved) > 0.9 * len(list(method.parameters()))
    assert loss.isfinite()
