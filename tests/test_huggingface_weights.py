"""Weights in the format of the library transformers, without that library: out, in again, and what is refused."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import toy_models
from safetensors.torch import load_file, save_file
from toy_models import SHAPES, TEXTS, vocabulary

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.text.tokenizer import load_tokenizer, read_tokenizer, vocabulary_of
from ssl_cli.errors import ConfigError
from ssl_cli.methods.causal_lm import CausalLM
from ssl_cli.methods.masked_lm import MaskedLM
from ssl_cli.models.backbones.bag import Bag
from ssl_cli.models.backbones.transformer import Transformer
from ssl_cli.models.huggingface.reading import output_weights_of, read_model, weights_of
from ssl_cli.models.huggingface.writing import architecture_of

ROWS = [*((f"what a fine and pleasant day number {item}", "good") for item in range(10)),
        *((f"this was an awful and dull evening, the {item}th", "bad") for item in range(10))]  # fmt: skip
TINY = ("backbone=transformer", "backbone.dim=16", "backbone.layers=2", "backbone.heads=2")
BERT = ("backbone.norm=post", "backbone.segments=true", "backbone.norm_eps=1e-12")


def shapes_of(module) -> dict:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def read_again(folder: Path, words=None) -> Transformer:
    """A transformer with the settings and the weights of a folder."""
    words = words or vocabulary()
    model = read_model(folder, "checkpoint=there")
    network = Transformer(words, **{**toy_models.USUAL, **model.architecture.settings()}).eval()
    network.load_state_dict(weights_of(model, shapes_of(network), words))
    return network


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "bert, no segments"])
def test_what_goes_out_comes_in_again_to_the_last_digit(tmp_path, shape):
    network = toy_models.made(shape)
    toy_models.save(tmp_path / "out", shape, network)
    again = read_again(tmp_path / "out")
    assert again.state_dict().keys() == network.state_dict().keys()
    for key, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    spoken = [0, 1, 2] if SHAPES[shape]["languages"] else None
    batch = toy_models.batch_of(TEXTS, vocabulary(), spoken)
    assert torch.equal(again(batch), network(batch))


def test_a_bert_without_segments_has_some_that_change_nothing(tmp_path):
    network = toy_models.made("bert, no segments")
    toy_models.save(tmp_path / "out", "bert, no segments", network)
    batch = toy_models.batch_of(TEXTS, vocabulary(), pairs=True)
    assert batch.segments.sum() > 0
    assert torch.equal(read_again(tmp_path / "out")(batch), network(batch))


@pytest.mark.parametrize("next_sentence", [True, False])
def test_output_layers_come_along(tmp_path, next_sentence):
    method = toy_models.with_random_weights(MaskedLM(toy_models.made("bert"), vocabulary(), 0.15, next_sentence))
    name = toy_models.save(tmp_path / "out", "bert", method.backbone, method.saved())
    assert name == ("BertForPreTraining" if next_sentence else "BertForMaskedLM")
    model = read_model(tmp_path / "out", "init_from=there")
    for part, layers in method.saved().items():
        weights = output_weights_of(model, part, shapes_of(layers))
        assert weights is not None
        assert all(torch.equal(weights[key], value) for key, value in layers.state_dict().items())
    plain = MaskedLM(toy_models.made("bert"), vocabulary(), 0.15, False, transform=False)
    assert output_weights_of(model, "output", shapes_of(plain.output)) is None  # of another shape
    read_again(tmp_path / "out")


def test_languages_are_found_by_their_names(tmp_path):
    network = toy_models.made("xlm")
    toy_models.save(tmp_path / "out", "xlm", network)
    words = replace(vocabulary(), languages=("it", "de"))
    again = read_again(tmp_path / "out", words)
    batch = toy_models.batch_of(TEXTS, vocabulary(), [0, 2, 2])
    assert torch.equal(again(toy_models.batch_of(TEXTS, words, [1, 0, 0])), network(batch))
    with pytest.raises(ConfigError, match="checkpoint=there: knows no language fr; it has de, en, it"):
        read_again(tmp_path / "out", replace(vocabulary(), languages=("de", "fr")))


REFUSED = {
    "backbone.positions=rotary: BERT, GPT-2 and XLM have learned": {"positions": "rotary"},
    "backbone.causal=false: with norm=pre it would be a GPT-2": {"norm": "pre", "segments": False},
    "backbone.segments=true: with norm=pre it would be a GPT-2": {"norm": "pre", "causal": True},
    "backbone.segments=true: with norm=post and backbone.languages=true it would be an XLM": {"languages": True},
    "backbone.mlp_ratio=2: with norm=post and backbone.causal=true it would be an XLM, where it is 4": {
        "segments": False, "causal": True, "mlp_ratio": 2.0},
    "backbone.activation=gelu_tanh: with norm=post": {"segments": False, "languages": True, "activation": "gelu_tanh"},
}  # fmt: skip


@pytest.mark.parametrize("sentence", REFUSED)
def test_a_shape_that_the_library_does_not_have_is_refused_with_the_setting_that_differs(sentence):
    with pytest.raises(ConfigError) as caught:
        architecture_of({**toy_models.USUAL, **REFUSED[sentence]}, vocabulary())
    (said,) = caught.value.problems
    assert said.startswith(sentence)


def test_output_layers_that_the_library_does_not_have_are_refused(tmp_path):
    network = toy_models.made("xlm")
    method = MaskedLM(network, vocabulary(), 0.15, False)
    with pytest.raises(
        ConfigError, match=r"method\.transform=true: XLM has no layer .*stage\.heads=false leaves it out"
    ):
        toy_models.save(tmp_path / "out", "xlm", network, method.saved())


def rewritten(folder: Path, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def with_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


QUERY = "encoder.layer.0.attention.self.query.weight"
DAMAGES = {
    r"has no tokenizer\.json; its older files are turned into one": lambda f: (f / "tokenizer.json").rename(f / "vocab.txt"),
    r"has no model\.safetensors; pytorch_model\.bin may run code": lambda f: (f / "model.safetensors").rename(
        f / "pytorch_model.bin"
    ),
    r"has no model\.safetensors; its weights are in several files": lambda f: (f / "model.safetensors").rename(
        f / "model.safetensors.index.json"
    ),
    r"config\.json cannot be read": lambda f: (f / "config.json").write_text("{"),
    r"config\.json cannot be read \(it is no JSON": lambda f: (f / "config.json").write_text("[" * 20 + "]" * 20),
    r"config\.json cannot be read \((max|Rec)": lambda f: (f / "config.json").write_text("[" * 100_000),
    r"config\.json\.model_type=llama: must be one of bert, gpt2, xlm": lambda f: rewritten(f, model_type="llama"),
    r"config\.json\.hidden_size=wide: must be a whole number": lambda f: rewritten(f, hidden_size="wide"),
    r"config\.json\.num_hidden_layers=1000000: must be in \[1, 200\]": lambda f: rewritten(f, num_hidden_layers=10**6),
    r"config\.json\.hidden_act=__import__: must be one of": lambda f: rewritten(f, hidden_act="__import__"),
    r"config\.json\.position_embedding_type=relative_key: must be": lambda f: rewritten(
        f, position_embedding_type="relative_key"
    ),
    r"config\.json\.is_decoder=true: must be false": lambda f: rewritten(f, is_decoder=True),
    r"model\.safetensors is damaged": lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04." * 9),
    rf"model\.safetensors has no {QUERY}": lambda f: with_tensors(f, lambda t: t.pop(QUERY)),
    rf"model\.safetensors: {QUERY} is 3 .* must be 24×24": lambda f: with_tensors(
        f, lambda t: t.update({QUERY: torch.zeros(3)})
    ),
    r"model\.safetensors: stages\.0\.qkv\.weight is not finite": lambda f: with_tensors(f, lambda t: t[QUERY].fill_(torch.nan)),
    r"tokenizer\.json has 300 tokens, and config\.json fewer": lambda f: rewritten(f, vocab_size=200),
}  # fmt: skip


@pytest.mark.parametrize("sentence", DAMAGES)
def test_a_damaged_folder_is_refused_with_a_sentence(tmp_path, sentence):
    toy_models.save(tmp_path / "out", "bert", toy_models.made("bert"))
    DAMAGES[sentence](tmp_path / "out")
    with pytest.raises(ConfigError, match=f"^checkpoint=there: {sentence}"):
        read_again(tmp_path / "out")


def test_names_and_precision_of_older_files_are_read_too(tmp_path):
    network = toy_models.made("bert")
    toy_models.save(tmp_path / "out", "bert", network)
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    old = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value.half()
        for name, value in tensors.items()
    }
    save_file({**old, "bert.embeddings.position_ids": torch.arange(3)}, tmp_path / "out" / "model.safetensors")
    again = read_again(tmp_path / "out")
    assert again.embedding_norm.weight.dtype == torch.float32
    assert torch.allclose(again.embedding_norm.weight, network.embedding_norm.weight, atol=1e-3)


def other_tokenizer(folder: Path, change) -> Path:
    """The tokenizer of the toy models with other special tokens, as a file."""
    content = vocabulary().tokenizer
    for old, new in change.items():
        content = content.replace(json.dumps(old), json.dumps(new))
    path = folder / "tokenizer.json"
    path.write_text(content)
    return path


def test_the_special_tokens_of_others_are_found_by_their_names(tmp_path):
    gpt = {"[CLS]": "<|endoftext|>", "[PAD]": "x1", "[MASK]": "x2", "[SEP]": "x3", "[PAIR]": "x4", "[SENTENCE]": "x5"}
    found = vocabulary_of(read_tokenizer(other_tokenizer(tmp_path, gpt)), (), True)
    assert (found.first, found.last, found.pair, found.pad) == (2, 2, 2, 2)
    assert (found.mask, found.sentence) == (None, None)
    bert = vocabulary_of(read_tokenizer(other_tokenizer(tmp_path, {"[PAIR]": "x1", "[SENTENCE]": "x2"})), (), True)
    assert (bert.pad, bert.mask, bert.first, bert.last, bert.pair, bert.sentence) == (0, 1, 2, 3, 3, None)
    xlm = {
        "[CLS]": "<s>",
        "[PAD]": "<pad>",
        "[MASK]": "<special1>",
        "[SEP]": "</s>",
        "[PAIR]": "x4",
        "[SENTENCE]": "x5",
    }
    found = vocabulary_of(read_tokenizer(other_tokenizer(tmp_path, xlm)), (), True)
    assert (found.pad, found.mask, found.first, found.last, found.pair) == (0, 1, 2, 3, 3)
    with pytest.raises(ConfigError, match=r"has no token to end a text with; must have one of \[SEP\], </s>"):
        read_tokenizer(other_tokenizer(tmp_path, {"[SEP]": "x3"}))
    with pytest.raises(ConfigError, match=r"dataset\.tokenizer\.path=.*nothing: there is no tokenizer\.json"):
        read_tokenizer(tmp_path / "nothing")


def test_segments_of_a_pair_are_those_of_bert_where_one_token_ends_and_divides(tmp_path):
    words = vocabulary_of(read_tokenizer(other_tokenizer(tmp_path, {"[PAIR]": "x1"})), (), False)
    batch = toy_models.batch_of(TEXTS[:2], words, pairs=True)
    ids, segments = batch.ids[0].tolist(), batch.segments[0].tolist()
    divided = ids.index(words.last)
    assert ids[-1] == words.last
    assert segments == [0] * (divided + 1) + [1] * (len(ids) - divided - 1)


def test_without_a_token_for_padding_or_masks_what_needs_them_says_so_or_does_without(tmp_path):
    gpt = {"[CLS]": "<|endoftext|>", "[PAD]": "x1", "[MASK]": "x2", "[SEP]": "x3", "[PAIR]": "x4"}
    words = vocabulary_of(read_tokenizer(other_tokenizer(tmp_path, gpt)), (), False)
    with pytest.raises(ValueError, match=r"no token for a masked one, such as .*; take method=causal_lm"):
        MaskedLM(toy_models.made("bert", words), words, 0.15, False)
    bag = Bag(words, 8)
    together = toy_models.batch_of(TEXTS, words)
    alone = torch.cat([bag(toy_models.batch_of([text], words)) for text in TEXTS])
    assert torch.allclose(bag(together), alone, atol=1e-6)
    assert torch.allclose(bag(together), bag.layers(together)[0], atol=1e-6)
    assert CausalLM(toy_models.made("gpt2", words), words, 0.8)


def test_a_tokenizer_with_truncation_and_templates_adds_and_cuts_nothing(tmp_path):
    toy_models.save(tmp_path / "out", "bert", toy_models.made("bert"))
    content = json.loads((tmp_path / "out" / "tokenizer.json").read_text())
    assert content["post_processor"]["type"] == "TemplateProcessing"
    content["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "out" / "tokenizer.json").write_text(json.dumps(content))
    assert load_tokenizer(tmp_path / "out" / "tokenizer.json").to_str() == vocabulary().tokenizer


# The command


@pytest.fixture
def words(tmp_path):
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *ROWS])
    return (
        "dataset=texts", f"dataset.root={tmp_path / 'a.csv'}", "dataset.tokenizer.vocabulary=300",
        f"dataset.cache={tmp_path / 'cache'}", "augment=whole_text", "schedule=smoke", "budget=all", "runtime.threads=1",
        "runtime.precision=float32",
    )  # fmt: skip


def test_a_run_goes_out_and_a_fine_tuning_of_it_starts_as_one_of_the_run_does(cli, tmp_path, words):
    again = ("dataset.tokenizer.path=exported/huggingface", "checkpoint=exported/huggingface")
    done = cli("pretrain", *words, *TINY, *BERT, "method=masked_lm", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    done = cli("export", "stage.run=run", "hydra.run.dir=exported")
    assert done.returncode == 0, done.stderr
    assert "transformers.BertForMaskedLM.from_pretrained" in done.stdout
    said = {path.name for path in (tmp_path / "exported" / "huggingface").iterdir()}
    assert said == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    for name, start in (("own", ("checkpoint=run",)), ("theirs", again)):
        done = cli("finetune", *words, *TINY, *BERT, *start, "method=masked_lm", f"hydra.run.dir={name}")
        assert done.returncode == 0, done.stderr
    own, theirs = (load_file(tmp_path / name / "backbone.safetensors") for name in ("own", "theirs"))
    assert all(torch.equal(own[key], theirs[key]) for key in own)
    refused = cli("finetune", *words, *TINY, *again)
    assert refused.returncode == 2
    assert "is of BERT's shape with other settings; add backbone.norm=post backbone.segments=true" in refused.stderr
    refused = cli("finetune", *words, *TINY, *BERT, again[1], "dataset.tokenizer.lowercase=false")
    assert refused.returncode == 2
    assert "has a tokenizer of its own, and the texts have another" in refused.stderr
    assert "add dataset.tokenizer.path=" in refused.stderr


def test_a_transformer_begins_with_the_embeddings_of_a_bag(cli, tmp_path, words):
    bag = ("backbone=bag", "backbone.dim=16")
    done = cli("pretrain", *words, *bag, "hydra.run.dir=bag")
    assert done.returncode == 0, done.stderr
    still = ("schedule.pretrain.optimiser.lr=1e-12", "schedule.pretrain.optimiser.weight_decay=0")
    done = cli("pretrain", *words, *TINY, *still, "method=masked_lm", "init_from=bag", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert "Token embeddings are those of bag; all other weights are random." in done.stdout
    before, after = (load_file(tmp_path / name / "backbone.safetensors") for name in ("bag", "run"))
    assert torch.allclose(before["embedding.weight"], after["embedding.weight"], atol=1e-9)
    refused = cli("pretrain", *words, *TINY, "backbone.dim=32", "method=masked_lm", "init_from=bag")
    assert refused.returncode == 2
    assert "backbone.dim=32: init_from=" in refused.stderr
    assert "is a bag with 16" in refused.stderr
    refused = cli("pretrain", *words, *TINY, "dataset.tokenizer.vocabulary=310", "method=masked_lm", "init_from=bag")
    assert refused.returncode == 2
    assert "tokenizer is another than that of dataset=texts" in refused.stderr


@pytest.mark.parametrize("stage", ["finetune", "pretrain"])
def test_a_folder_of_the_library_is_for_a_transformer_alone(tmp_path, stage):
    from ssl_cli.stages.sources import source_at

    toy_models.save(tmp_path / "out", "gpt2", toy_models.made("gpt2"))
    config = from_overrides(f"stage={stage}", "dataset=texts", "augment=text", "backbone=bag", "head=linear")
    with pytest.raises(
        ConfigError, match=r"backbone=bag: checkpoint=.*out is of GPT-2's shape; take backbone=transformer"
    ):
        source_at("checkpoint", tmp_path / "out", "auto", config, None)
    config = from_overrides(f"stage={stage}", "dataset=texts", "augment=text", "backbone=gpt2_small", "head.keep=1")
    with pytest.raises(ConfigError, match=r"head\.keep=1: .* has no projection head to keep; use head\.keep=0"):
        source_at("checkpoint", tmp_path / "out", "auto", config, config.head.projection)
