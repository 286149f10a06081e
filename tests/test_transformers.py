"""The same weights in the library transformers, outwards and inwards: the same states and logits.

    pip install '.[huggingface]'
    pytest -m slow -n 0 tests/test_transformers.py -s

With `-s` it prints the largest difference of each shape.
"""

import pytest
import torch
import toy_models
from toy_models import SHAPES, TEXTS

from ssl_cli.methods.causal_lm import CausalLM
from ssl_cli.methods.cross_lingual import CrossLingual
from ssl_cli.methods.masked_lm import MaskedLM
from ssl_cli.models.backbones.transformer import Transformer
from ssl_cli.models.huggingface.reading import output_weights_of, read_model, weights_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
CLOSE = 1e-5
WORDS = toy_models.vocabulary()


@pytest.fixture
def transformers():
    """The library, which takes seconds to import, so not where other tests are collected."""
    return pytest.importorskip("transformers")


def shapes_of(module) -> dict:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def largest(title: str, ours, theirs) -> float:
    assert len(ours) == len(theirs)
    found = max((a - b).abs().max().item() for a, b in zip(ours, theirs, strict=True))
    print(f"\n{title}: largest difference {found:.1e}, of values up to {max(a.abs().max().item() for a in ours):.1f}")
    return found


def inputs_of(shape: str, tokenizer, text: str, second: str | None = None) -> dict:
    given = dict(tokenizer(text, second, return_tensors="pt"))
    if SHAPES[shape]["languages"]:
        given["langs"] = torch.full_like(given["input_ids"], 2)
    if shape.startswith("xlm"):
        given.pop("token_type_ids", None)
    return given


def our_states(network: Transformer, shape: str, texts: list[str], pairs: bool = False):
    spoken = [2] if SHAPES[shape]["languages"] else None
    batch = toy_models.batch_of(texts, network.vocabulary, spoken, pairs)
    with torch.no_grad():
        return batch, network.layer_states(batch)


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_that_go_out_give_the_same_states_of_every_layer(tmp_path, transformers, shape):
    network = toy_models.made(shape)
    toy_models.save(tmp_path / "out", shape, network)
    model = transformers.AutoModel.from_pretrained(tmp_path / "out").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in TEXTS:
        given = inputs_of(shape, tokenizer, text)
        batch, ours = our_states(network, shape, [text])
        assert given["input_ids"].tolist() == batch.ids.tolist()
        with torch.no_grad():
            theirs = model(**given, output_hidden_states=True).hidden_states[1:]
        assert largest(shape, ours, theirs) < CLOSE


def test_the_two_texts_of_a_pair_are_told_apart_in_the_same_way(tmp_path, transformers):
    network = toy_models.made("bert")
    toy_models.save(tmp_path / "out", "bert", network)
    model = transformers.AutoModel.from_pretrained(tmp_path / "out").eval()
    given = inputs_of("bert", transformers.AutoTokenizer.from_pretrained(tmp_path / "out"), *TEXTS[:2])
    batch, ours = our_states(network, "bert", TEXTS[:2], pairs=True)
    assert given["input_ids"].tolist() == batch.ids.tolist()
    assert given["token_type_ids"].tolist() == batch.segments.tolist()
    with torch.no_grad():
        assert largest("bert, a pair", ours, model(**given, output_hidden_states=True).hidden_states[1:]) < CLOSE


METHODS = {
    "bert": lambda network: MaskedLM(network, WORDS, 0.15, False),
    "bert, others": lambda network: MaskedLM(network, WORDS, 0.15, True),
    "gpt2": lambda network: CausalLM(network, WORDS, 0.8),
    "gpt2, others": lambda network: CausalLM(network, WORDS, 0.8),
    "xlm": lambda network: CrossLingual(network, WORDS, torch.arange(4), 0.15, 1.0, 1.0, 0.0, transform=False),
    "xlm, causal": lambda network: CausalLM(network, WORDS, 0.8),
}


@pytest.mark.parametrize("shape", METHODS)
def test_language_models_that_go_out_give_the_same_logits(tmp_path, transformers, shape):
    method = toy_models.with_random_weights(METHODS[shape](toy_models.made(shape)))
    name = toy_models.save(tmp_path / "out", shape, method.backbone, method.saved())
    model, said = getattr(transformers, name).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    given = inputs_of(shape, transformers.AutoTokenizer.from_pretrained(tmp_path / "out"), TEXTS[0])
    _, ours = our_states(method.backbone, shape, [TEXTS[0]])
    with torch.no_grad():
        theirs = model.eval()(**given)
        logits = method.output(ours[-1][0], method.backbone.embedding)
        found = getattr(theirs, "logits", None)
        assert largest(name, [logits], [(theirs.prediction_logits if found is None else found)[0]]) < CLOSE
        if "next_sentence" in method.saved():
            follows = method.follows(ours[-1][:, 0])
            assert largest(f"{name}, next sentence", [follows], [theirs.seq_relationship_logits]) < CLOSE


def their_model(transformers, shape: str):
    """A model of the library's own making, with more rows of embeddings than tokens, and in half precision on the disk."""
    size = {"vocab_size": WORDS.size + 5}
    if shape == "bert":
        config = transformers.BertConfig(
            **size, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96,
            max_position_embeddings=40,
        )  # fmt: skip
        return transformers.BertForMaskedLM(config), lambda network: MaskedLM(network, WORDS, 0.15, False)
    if shape == "gpt2":
        config = transformers.GPT2Config(**size, n_embd=24, n_layer=3, n_head=4, n_positions=40)
        return transformers.GPT2LMHeadModel(config), METHODS["gpt2"]
    languages = {"it": 0, "de": 1, "en": 2, "fr": 3}  # in another order than here, and one more
    config = transformers.XLMConfig(
        **size, emb_dim=24, n_layers=3, n_heads=4, n_langs=4, max_position_embeddings=40, lang2id=languages,
        id2lang={str(number): name for name, number in languages.items()},
    )  # fmt: skip
    return transformers.XLMWithLMHeadModel(config), METHODS["xlm"]


@pytest.mark.parametrize("shape", ["bert", "gpt2", "xlm"])
def test_weights_that_come_in_give_the_same_states_and_logits(tmp_path, transformers, shape):
    model, method_of = their_model(transformers, shape)
    toy_models.with_random_weights(model)
    model.tie_weights()
    toy_models.save(tmp_path / "in", shape, toy_models.made(shape))  # for its tokenizer
    model.save_pretrained(tmp_path / "in")
    read = read_model(tmp_path / "in", "checkpoint=in")
    network = Transformer(WORDS, **{**SHAPES[shape], **read.architecture.settings()}).eval()
    method = method_of(network).eval()
    network.load_state_dict(weights_of(read, shapes_of(network), WORDS))
    weights = output_weights_of(read, "output", shapes_of(method.output))
    assert weights is not None
    method.output.load_state_dict(weights)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "in")
    given = inputs_of(shape, tokenizer, TEXTS[0])
    if shape == "xlm":
        given["langs"] = torch.zeros_like(given["input_ids"])  # Italian there, the third language here
    _, ours = our_states(network, shape, [TEXTS[0]])
    with torch.no_grad():
        theirs = model(**given, output_hidden_states=True)
        assert largest(f"{shape}, inwards", ours, theirs.hidden_states[1:]) < CLOSE
        logits = method.output(ours[-1][0], network.embedding)
        assert largest(f"{shape}, inwards, logits", [logits], [theirs.logits[0, :, : WORDS.size]]) < CLOSE
