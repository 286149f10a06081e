import sys

import pytest

pytest.importorskip("hassil")
pytest.importorskip("home_assistant_intents")

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.data.text.commands import FEWEST, commands_of
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError


@pytest.fixture
def dataset(tmp_path):
    def read(*overrides: str, cache: str = "cache") -> Dataset:
        return load(
            from_overrides(
                "dataset=commands", "dataset.tokenizer.vocabulary=300", "dataset.per_template=2", "budget=all",
                "backbone=bag", "augment=text", f"dataset.cache={tmp_path / cache}", *overrides,
            ).dataset
        )  # fmt: skip

    return read


def test_commands_have_their_intents_as_classes_and_are_always_the_same(dataset):
    data = dataset()
    assert {"HassTurnOn", "HassTurnOff", "HassLightSet"} < set(data.classes)
    assert set(data.train.labels.tolist()) == set(data.test.labels.tolist()) == set(range(len(data.classes)))
    assert not data.vocabulary.languages
    assert dataset(cache="other").fingerprint() == data.fingerprint()


def test_training_and_test_share_no_template_and_no_text():
    texts = list(commands_of(["de"], 3, 0.2))
    held_out = {text.place for text in texts if text.is_test}
    learned = {text.place for text in texts if not text.is_test}
    assert not held_out & learned
    assert len({text.sentences for text in texts}) == len(texts)
    assert 0.15 < len(held_out) / (len(held_out) + len(learned)) < 0.25
    for label in {text.label for text in texts}:
        assert len({text.place for text in texts if text.label == label}) >= FEWEST - 1  # equal texts may use one up


def test_a_template_gives_no_more_texts_than_asked_for_and_none_with_a_slot_left_open():
    texts = list(commands_of(["en"], 4, 0.2))
    of_template: dict[str, int] = {}
    for text in texts:
        of_template[text.place] = of_template.get(text.place, 0) + 1
        assert not set("{}<>[]|()") & set(text.sentences[0]), text
    assert max(of_template.values()) == 4


def test_several_languages_are_named(dataset):
    data = dataset("dataset.languages=[de,en]")
    assert data.vocabulary.languages == ("de", "en")
    assert len(data.train.inputs.languages.unique()) == 2


@pytest.mark.parametrize(
    ("languages", "sentence"),
    [("[en,tlh]", r"dataset\.languages=tlh: must be of .*en"), ("[]", "must name at least one language")],
)
def test_a_language_that_there_is_not_has_its_sentence(dataset, languages, sentence):
    with pytest.raises(ConfigError, match=sentence):
        dataset(f"dataset.languages={languages}")


def test_without_the_packages_the_sentence_says_what_to_install(dataset, monkeypatch):
    monkeypatch.setitem(sys.modules, "hassil", None)
    with pytest.raises(ConfigError, match=r"pip install 'ssl-cli\[text\]'"):
        dataset()
