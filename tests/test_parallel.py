import csv
import logging
from pathlib import Path

import pytest

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import facts_of, load
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError

LABELLED = [
    *((f"the weather is fine on day {item}", "good", "en") for item in range(6)),
    *((f"das Wetter ist furchtbar am Tag {item}", "bad", "de") for item in range(6)),
]
PAIRS = [(f"a small cat and {item} mice", f"eine kleine Katze und {item} Mäuse") for item in range(5)]


def write(path: Path, header: tuple, rows: list) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def dataset(tmp_path):
    def read(pairs: list, *overrides: str, header: tuple = ("en", "de"), labelled: list = LABELLED) -> Dataset:
        write(tmp_path / "train.csv", ("text", "label", "language"), labelled)
        write(tmp_path / "pairs.csv", header, pairs)
        return load(
            from_overrides(
                "dataset=parallel", f"dataset.root={tmp_path}", "dataset.tokenizer.vocabulary=300", "budget=all",
                "backbone=bag", "augment=text", f"dataset.cache={tmp_path / 'cache'}", *overrides,
            ).dataset
        )  # fmt: skip

    return read


def cases(data: Dataset) -> list[set[tuple[str, str]]]:
    """The texts of each case that has several, with their languages."""
    found: dict[int, set[tuple[str, str]]] = {}
    read = texts_of(data.vocabulary, data.train.inputs)
    for text, language, case in zip(read, data.train.inputs.languages.tolist(), data.cases.tolist(), strict=True):
        found.setdefault(case, set()).add((text, data.vocabulary.languages[language]))
    return [members for members in found.values() if len(members) > 1]


def test_translations_are_unlabelled_texts_of_one_case_and_others_are_cases_of_their_own(dataset):
    data = dataset(PAIRS)
    assert data.vocabulary.languages == ("de", "en")
    facts = facts_of(data)
    assert (facts.inputs, facts.unlabelled, facts.test, facts.cases) == (10, 10, 2, 15)
    assert sorted(map(sorted, cases(data))) == sorted(sorted([(en, "en"), (de.lower(), "de")]) for en, de in PAIRS)


def test_a_pair_with_an_empty_cell_is_left_out_and_counted(dataset, caplog):
    with caplog.at_level(logging.INFO, logger="ssl_cli"):
        data = dataset([*PAIRS, ("nobody translated this", ""), ("", " ")])
    assert "2 texts are left out (2 incomplete pair)" in caplog.text
    assert facts_of(data).unlabelled == 10


def test_a_text_with_two_translations_is_there_once_and_all_are_one_case(dataset):
    data = dataset([*PAIRS, (PAIRS[0][0], "noch eine Katze")])
    assert {len(members) for members in cases(data)} == {2, 3}
    assert facts_of(data).unlabelled == 11


def test_a_labelled_text_with_a_translation_is_in_its_case(dataset):
    extra = [(f"the tea number {item} is cold", "bad", "en") for item in range(20)]
    pairs = [(text, f"der Tee Nummer {item} ist kalt") for item, (text, _, _) in enumerate(extra)]
    data = dataset(pairs, labelled=[*LABELLED, *extra])
    facts = facts_of(data)
    assert facts.unlabelled == 20
    held_out = [text for text in texts_of(data.vocabulary, data.test.inputs) if text.startswith("the tea")]
    assert len(cases(data)) == 20 - len(held_out)
    assert all({language for _, language in members} == {"de", "en"} for members in cases(data))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["dataset.languages=[en,fr]"], r"dataset\.languages=fr: .*pairs\.csv has no such column; it has en, de"),
        (["dataset.languages=[en]"], r"must be the names of at least two different columns"),
        (["dataset.pairs=nothing.csv"], r"dataset\.pairs=.*nothing\.csv: there is no such file"),
    ],
)
def test_each_mistake_has_its_sentence(dataset, overrides, sentence):
    with pytest.raises(ConfigError, match=sentence):
        dataset(PAIRS, *overrides)
