import json
from pathlib import Path

import pytest
import torch
from toy_texts import BILINGUAL, VOCABULARY, batch_of, some_texts, transformer

from ssl_cli.config.schema import Bpe
from ssl_cli.data.batches import Batches, PartnerBatches
from ssl_cli.data.language_sampling import held_out, language_probabilities
from ssl_cli.data.text.corpus import Corpus, Text
from ssl_cli.data.text.store import _sampled, stored
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.errors import ConfigError
from ssl_cli.methods.causal_lm import CausalLM
from ssl_cli.methods.cross_lingual import CrossLingual
from ssl_cli.methods.masked_lm import MaskedLM

# 900 texts of language 0, 90 of 1 and 10 of 2: each text is its own number.
LANGUAGES = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
INPUTS = torch.arange(1000)


def batches(power: float, **settings) -> Batches:
    return Batches(INPUTS, None, None, 100, "shuffle", 3, languages=LANGUAGES, power=power, **settings)


def seen(of: Batches, epochs: int) -> torch.Tensor:
    return torch.cat([of.at(step).inputs for step in range(epochs * of.steps_per_epoch)])


@pytest.mark.parametrize("power", [0.0, 0.5, 0.7, 1.0])
def test_languages_are_drawn_by_their_share_to_a_power(power):
    raised = torch.tensor([0.9, 0.09, 0.01]) ** power
    wanted = raised / raised.sum()
    torch.testing.assert_close(
        language_probabilities(LANGUAGES.bincount(), power), wanted.double(), rtol=1e-5, atol=1e-6
    )
    counted = LANGUAGES[seen(batches(power), 20)].bincount(minlength=3) / 20_000
    torch.testing.assert_close(counted, wanted, rtol=0, atol=0.012)


def test_texts_of_a_small_language_come_equally_often_and_those_of_a_large_one_in_turn():
    epoch = seen(batches(0.5), 1)
    times = epoch.bincount(minlength=1000)
    for language in range(3):
        own = times[language == LANGUAGES]
        assert own.max() - own.min() <= 1
    assert (seen(batches(0.5), 20).bincount(minlength=1000) > 0).all()


def test_a_batch_is_a_function_of_the_step_and_the_seed():
    one, other = batches(0.5), batches(0.5)
    seen(one, 2)
    assert torch.equal(one.at(7).inputs, other.at(7).inputs)
    assert not torch.equal(one.at(7).inputs, one.at(17).inputs)


def test_without_languages_every_text_is_there_once_an_epoch():
    plain = Batches(INPUTS, None, None, 100, "shuffle", 3)
    assert seen(plain, 1).sort()[0].tolist() == list(range(1000))


def test_only_the_items_are_drawn():
    items = torch.arange(850, 1000)
    drawn = seen(Batches(INPUTS, None, items, 50, "shuffle", 0, languages=LANGUAGES, power=0.0), 5)
    assert drawn.min() >= 850
    assert set(LANGUAGES[drawn].tolist()) == {0, 1, 2}


def test_a_partner_is_another_text_of_the_same_case():
    cases = torch.arange(1000) // 2 * 2
    cases[:100] = torch.arange(100)  # alone
    own = batches(0.5)
    for step in range(12):
        batch = PartnerBatches(own, cases).at(step)
        assert torch.equal(batch.inputs, own.at(step).inputs)
        alone = batch.inputs < 100
        assert torch.equal(batch.partners[alone], batch.inputs[alone])
        assert torch.equal(batch.partners[~alone], batch.inputs[~alone] ^ 1)


def test_a_partner_is_among_the_items():
    items = torch.cat([torch.arange(0, 500, 2), torch.arange(500, 1000)])
    own = Batches(INPUTS, None, items, 50, "shuffle", 0)
    for step in range(own.steps_per_epoch):
        batch = PartnerBatches(own, INPUTS // 2).at(step)
        assert torch.isin(batch.partners, items).all()
        assert torch.equal(batch.partners // 2, batch.inputs // 2)
        assert torch.equal(batch.partners == batch.inputs, batch.inputs < 500)


@pytest.mark.parametrize("power", [0.0, 0.5, 0.7])
def test_a_tokenizers_sample_has_languages_by_their_share_to_a_power(power):
    train = torch.ones(1000, dtype=torch.bool).numpy()
    picked = torch.from_numpy(_sampled(train, LANGUAGES.numpy(), Bpe(None, 300, 600, True, power)))
    wanted = language_probabilities(LANGUAGES.bincount(), power) * 600
    torch.testing.assert_close(LANGUAGES[picked].bincount().double(), wanted, rtol=0, atol=1)
    times = picked.bincount(minlength=1000)
    for language in range(3):
        own = times[language == LANGUAGES]
        assert own.max() - own.min() <= 1


def test_a_power_gives_a_small_language_longer_tokens(tmp_path):
    def text(number: int) -> Text:
        small = number % 50 == 0
        said = f"zyxw vutsr qponm {number}" if small else f"abcd efghi jklmn {number}"
        return Text((said,), label=str(number % 2), language="small" if small else "large")

    corpus = Corpus({"made": 1}, lambda: map(text, range(500)), False, 0.2)
    length = {}
    for power in (1.0, 0.0):
        data = stored(corpus, Bpe(None, 270, 10_000, True, power), tmp_path)
        small = data.train.inputs.languages == data.vocabulary.languages.index("small")
        length[power] = data.train.inputs.lengths[small].float().mean()
    assert length[0.0] < length[1.0]


def test_a_share_of_each_language_is_held_out_with_its_translations():
    cases = INPUTS.clone()
    cases[900:910] = torch.arange(10)  # ten texts of language 1 are translations
    stay, apart = held_out(LANGUAGES, cases, INPUTS, 0.2, 0)
    assert sorted([*stay.tolist(), *apart.tolist()]) == list(range(1000))
    assert not torch.isin(cases[stay], cases[apart]).any()
    counts = LANGUAGES[apart].bincount(minlength=3)
    assert (counts >= torch.tensor([180, 18, 2])).all()
    assert (counts <= torch.tensor([190, 28, 2])).all()
    assert torch.equal(held_out(LANGUAGES, cases, INPUTS, 0.2, 0)[1], apart)


def test_token_losses_are_those_that_are_learnt():
    batch = batch_of(some_texts(12), [0] * 12, BILINGUAL)
    from ssl_cli.randomness import Draws

    for method in (
        MaskedLM(transformer(), VOCABULARY, 0.3, False),
        CausalLM(transformer(causal=True), VOCABULARY, 0.0),
    ):
        each, texts = method.token_losses(batch, Draws(0, "test"))[""]
        torch.testing.assert_close(each.mean(), method.loss((batch,), None, Draws(0, "test"))[0])
        assert set(texts.tolist()) <= set(range(12))
    cross = CrossLingual(transformer(BILINGUAL), BILINGUAL, None, 0.3, 1.0, 0.0, 1.0)
    found = cross.token_losses(batch, Draws(0, "test"))
    total = found["mlm_"][0].mean() + found["clm_"][0].mean()
    torch.testing.assert_close(total, cross.loss((batch,), None, Draws(0, "test"))[0])


def test_a_power_without_languages_is_refused():
    with pytest.raises(
        ValueError, match=r"language_power=0\.5: nothing says in which languages the texts are; set it to 1"
    ):
        MaskedLM(transformer(), VOCABULARY, 0.3, False, language_power=0.5)
    with pytest.raises(ConfigError, match=r"dataset\.tokenizer\.language_power=0\.5: nothing says"):
        _sampled(torch.ones(4, dtype=torch.bool).numpy(), None, Bpe(None, 300, 600, True, 0.5))
    with pytest.raises(ValueError, match=r"tlm=1: nothing says which texts are translations.* or set it to 0"):
        CrossLingual(transformer(BILINGUAL), BILINGUAL, None, 0.15, 1.0, 1.0, 0.0)


def write(folder: Path) -> None:
    rows = [
        {"text": f"{word} {day} number {n}", "label": str(n % 2), "language": language}
        for language, word, day, count in (
            ("en", "fine", "day", 60),
            ("de", "guter", "Tag", 30),
            ("es", "buen", "dia", 10),
        )
        for n in range(count)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "pairs.csv").write_text(
        "en,de\n" + "".join(f"a cat and {n} mice,Katze und {n} Mäuse\n" for n in range(40))
    )


MIXTURES = {
    "clm": ("clm=1", "mlm=0", "tlm=0"), "mlm": ("clm=0", "mlm=1", "tlm=0"), "tlm": ("clm=0", "mlm=0", "tlm=1"),
    "all": ("clm=1", "mlm=1", "tlm=1"),
}  # fmt: skip


@pytest.mark.parametrize("mixture", MIXTURES)
def test_any_mixture_trains_and_says_the_perplexity_of_each_language(smoke, tmp_path, mixture):
    from ssl_cli.stages.pretrain import pretrain

    write(tmp_path)
    kind = "parallel" if "tlm=1" in MIXTURES[mixture] else "texts"
    config, run = smoke(
        "stage=pretrain", f"dataset={kind}", f"dataset.root={tmp_path}", "dataset.columns.language=language",
        "dataset.tokenizer.vocabulary=300", f"dataset.cache={tmp_path / 'cache'}", "augment=whole_text", "budget=all",
        "backbone=transformer", "backbone.dim=16", "backbone.layers=1", "backbone.heads=2", "backbone.languages=true",
        "method=cross_lingual", "method.held_out=0.1", "head.keep=0", *(f"method.{word}" for word in MIXTURES[mixture]),
    )  # fmt: skip
    result = pretrain(config, run)
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    last = {key: value for line in lines for key, value in line.items()}
    tasks = {"clm": ["clm"], "all": ["clm", "mlm"]}.get(mixture, ["mlm"])
    wanted = {f"held_out_{task}_perplexity{end}" for task in tasks for end in ("", "_en", "_de", "_es")}
    assert {key for key in last if key.startswith("held_out")} == wanted == set(result["perplexity"])
    assert all(1 < last[key] < 1000 for key in wanted)
    assert result["inputs"] < 80 + (80 if kind == "parallel" else 0)


def test_texts_are_not_held_out_unmeasured(smoke, tmp_path):
    from ssl_cli.stages.pretrain import pretrain

    write(tmp_path)
    result = pretrain(
        *smoke(
            "stage=pretrain", "dataset=texts", f"dataset.root={tmp_path}", "dataset.tokenizer.vocabulary=300",
            f"dataset.cache={tmp_path / 'cache'}", "augment=whole_text", "budget=all", "backbone=transformer", "backbone.dim=16",
            "backbone.layers=1", "backbone.heads=2", "method=masked_lm", "method.held_out=0.1", "head.keep=0",
            "schedule.pretrain.evaluate_every=0",
        )
    )  # fmt: skip
    assert result["perplexity"]["held_out_perplexity"] > 1


def bilingual(tmp_path):
    write(tmp_path)
    return (
        "dataset=parallel", f"dataset.root={tmp_path / 'train.jsonl'}", f"dataset.pairs={tmp_path / 'pairs.csv'}",
        "dataset.tokenizer.vocabulary=300", f"dataset.cache={tmp_path / 'cache'}", "augment=text", "budget=all", "backbone=bag",
    )  # fmt: skip


def test_the_nearest_text_is_the_translation_or_says_the_same(tmp_path):
    from ssl_cli.config.compose import from_overrides
    from ssl_cli.data.dataset import load
    from ssl_cli.stages.translations import read_translations

    dataset = load(from_overrides(*bilingual(tmp_path)).dataset)
    path = tmp_path / "unseen.csv"
    path.write_text("en,de,xx\naa,bb,\nccc,dddd,\nf,bb,\n,alone,q\n")
    pairs = read_translations(path, dataset)
    by_size = {1: [1.0, -0.1], 2: [1.0, 0.0], 3: [1.0, 0.1], 4: [0.0, 1.0], 5: [0.0, -1.0]}

    def features(texts):
        return torch.tensor(
            [by_size[len(texts_of(dataset.vocabulary, texts[item : item + 1])[0])] for item in range(len(texts))]
        )

    found = pairs.found(features)
    assert set(found) == {"en → de", "de → en"}
    assert found["en → de"] == {
        "inputs": 3,
        "precision_at_1": round(2 / 3, 6),
    }  # all find bb
    assert found["de → en"]["inputs"] == 3


def test_an_evaluation_says_how_often_the_nearest_is_the_translation(smoke, tmp_path, capsys):
    from ssl_cli.stages.evaluate import closing, evaluate
    from ssl_cli.stages.finetune import finetune

    words = bilingual(tmp_path)
    _, trained = run = smoke("stage=baseline", *words, folder="trained")
    finetune(*run)
    unseen = tmp_path / "unseen.csv"
    unseen.write_text("en,de\n" + "".join(f"{n} cats,{n} Katzen\n" for n in range(10)))
    config, run = smoke(
        "stage=evaluate", f"stage.run={trained.folder}", f"stage.translations={unseen}", folder="evaluated"
    )
    result = evaluate(config, run)
    measured = result["rows"][0]["translations"]
    assert set(measured) == {"en → de", "de → en"}
    assert all(0 <= one["mean"] <= 1 and one["inputs"] == 10 for one in measured.values())
    closing(result, run)
    assert "the nearest text is the translation" in capsys.readouterr().out
    for content, said in (
        ("en,xx\na,b\n", "must have columns for two of the languages"),
        ("en,de\na,\n", "has no text with a"),
    ):
        unseen.write_text(content)
        with pytest.raises(ConfigError, match=said):
            evaluate(
                *smoke("stage=evaluate", f"stage.run={trained.folder}", f"stage.translations={unseen}", folder="bad")
            )


def test_translations_that_are_not_utf_8_are_refused_with_their_row(tmp_path):
    from ssl_cli.config.compose import from_overrides
    from ssl_cli.data.dataset import load
    from ssl_cli.stages.translations import read_translations

    dataset = load(from_overrides(*bilingual(tmp_path)).dataset)
    path = tmp_path / "latin.csv"
    path.write_bytes("en,de\na door,eine Tür\na key,ein Schlüssel\n".encode("latin-1"))
    with pytest.raises(
        ConfigError, match=r"^stage\.translations=.*latin\.csv: row 2 is not UTF-8; save the file as UTF-8$"
    ):
        read_translations(path, dataset)
