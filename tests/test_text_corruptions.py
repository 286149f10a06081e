import csv
import json
from pathlib import Path

import pytest
import torch

from ssl_cli.augment.text_corruptions import CORRUPTIONS, NEIGHBOURS, corrupted
from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.data.text.tokenizer import MARKS, PAIR, SENTENCE, rewritten, texts_of
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError
from ssl_cli.randomness import generator
from ssl_cli.report import table
from ssl_cli.stages.compare import compare
from ssl_cli.stages.evaluate import evaluate
from ssl_cli.stages.finetune import finetune

TEXT = " The quick brown fox jumps over the lazy dog, and nobody knows why it Should."
GERMAN = {"sun": "Sonne", "rain": "Regen", "warm": "warm", "wet": "nass", "today": "heute", "it": "es"}


def changed(name: str, strength: float, text: str = TEXT, seed: int = 0) -> str:
    return CORRUPTIONS[name](text, strength, generator(seed, "shift"))


def distance(one: str, other: str) -> int:
    """Levenshtein's: letters inserted, deleted or replaced."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, start=1):
            before, row[j] = row[j], min(before + (a != b), row[j] + 1, row[j - 1] + 1)
    return row[-1]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_nothing_at_no_strength_and_grows_with_it(name):
    text = TEXT.swapcase() if name == "lower_case" else TEXT
    assert changed(name, 0.0, text) == text
    distances = [distance(text, changed(name, strength, text)) for strength in (0.3, 0.6, 0.9)]
    assert 0 < distances[0] < distances[1] < distances[2]
    assert changed(name, 0.5, text) == changed(name, 0.5, text)


@pytest.mark.parametrize("name", ["typos", "upper_case", "random_case", "deleted_words"])
def test_what_is_drawn_depends_on_the_seed(name):
    assert changed(name, 0.5) != changed(name, 0.5, seed=1)


def test_a_stronger_corruption_is_the_same_one_stronger():
    weak, strong = (set(changed("deleted_words", strength).split()) for strength in (0.3, 0.6))
    assert strong < weak < set(TEXT.split())
    pairs = zip(TEXT, changed("upper_case", 0.3), changed("upper_case", 0.7), strict=True)
    assert all(strong == weak for before, weak, strong in pairs if weak != before)


def test_a_typo_is_a_neighbouring_key_a_swap_a_missing_letter_or_a_double_one():
    assert {changed("typos", 1.0, "n", seed) for seed in range(100)} == {"", "nn", *NEIGHBOURS["n"]}
    assert {changed("typos", 1.0, "N", seed) for seed in range(100)} == {"", "NN", *NEIGHBOURS["n"].upper()}
    assert "ba" in {changed("typos", 0.3, "ab", seed) for seed in range(100)}
    assert set(NEIGHBOURS["s"]) == set("adwezx")


def test_typos_are_of_letters_and_of_the_share_asked_for():
    digits = "12 34, 56! " * 50
    assert changed("typos", 1.0, digits) == digits
    letters = "abcdefghij" * 400
    assert distance(letters[:1000], changed("typos", 0.1, letters[:1000])) == pytest.approx(100, rel=0.5)
    assert changed("typos", 0.5, "привет как дела") != "привет как дела"  # no keys are known, and letters still go


def test_case_changes_words_or_letters_and_nothing_else():
    assert changed("upper_case", 1.0) == TEXT.upper()
    assert changed("lower_case", 1.0) == TEXT.lower()
    for name in ("upper_case", "lower_case", "random_case"):
        assert changed(name, 0.6).lower() == TEXT.lower()
    assert changed("upper_case", 1.0, "große") == "GROßE"  # no other letters, which a tokenizer would see
    mixed = changed("random_case", 1.0, "a" * 1000)
    assert 400 < mixed.count("A") < 600


def test_words_are_left_out_and_one_stays_also_where_writing_has_no_spaces():
    words = " ".join(f"w{number}" for number in range(1000))
    assert len(changed("deleted_words", 0.3, words).split()) == pytest.approx(700, abs=60)
    assert changed("deleted_words", 0.999, "two words").strip() in ("two", "words")
    assert len(changed("deleted_words", 0.5, "打开客厅的灯光" * 100)) == pytest.approx(350, abs=60)


def test_truncation_keeps_the_beginning():
    assert changed("truncation", 0.5, " 0123456789") == " 01234"
    assert changed("truncation", 0.99, " 0123456789") == " 0"


def rows(german: bool = True) -> list[tuple[str, str, str]]:
    """Texts about the weather in English, and word for word in German."""
    made = []
    for number in range(40):
        label, words = ("good", ("sun", "warm")) if number % 2 else ("bad", ("rain", "wet"))
        english = [words[0], "today", f"{number}", words[1], "it"]
        made.append((" ".join(english), label, "en"))
        if german:
            made.append((" ".join(GERMAN.get(word, word) for word in english), label, "de"))
    return made


def table_of(path: Path, texts: list[tuple]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label", "language"), *texts])
    return path


@pytest.fixture
def on_texts(tmp_path, smoke):
    """A stage on a table of texts in two languages."""

    def prepare(*overrides: str, folder: str = "run", texts: list[tuple] | None = None):
        path = table_of(tmp_path / "weather.csv", texts or rows())
        return smoke(
            "dataset=texts", f"dataset.root={path}", f"dataset.cache={tmp_path / 'cache'}", "dataset.columns.language=language",
            "dataset.tokenizer.vocabulary=320", "backbone=bag", "augment=text", "budget=all", "schedule.supervised.batch_size=16",
            "schedule.supervised.epochs=60", "schedule.supervised.max_steps=120", *overrides, folder=folder,
        )  # fmt: skip

    return prepare


def read(*overrides: str) -> Dataset:
    words = ("dataset=texts", "dataset.tokenizer.vocabulary=300", "budget=all", "backbone=bag", "augment=text")
    return load(from_overrides(*words, *overrides).dataset)


@pytest.mark.parametrize("lowercase", ["true", "false"])
def test_texts_that_are_not_changed_have_the_same_tokens_again(tmp_path, lowercase):
    said = [
        (f"  Two spaces. Ünïcode {number}, 打开 || and [MASK] || more", "ab"[number % 2], "x") for number in range(12)
    ]
    path = table_of(tmp_path / "odd.csv", said)
    data = read(
        f"dataset.root={path}", f"dataset.cache={tmp_path / 'cache'}", "dataset.sentences=' || '",
        "dataset.columns.second=language", f"dataset.tokenizer.lowercase={lowercase}",
    )  # fmt: skip
    known, texts = data.vocabulary, data.train.inputs
    seen = []
    again = rewritten(texts, known, known, lambda text: seen.append(text) or text)
    assert torch.equal(again.flat, texts.packed().flat)
    assert all(text.count(SENTENCE) == 2 and text.count(PAIR) == 1 for text in seen)
    cut = corrupted(known, texts, "truncation", 0.7, generator(0, "x"))
    assert cut.lengths.min() > 0
    assert not (cut.flat == known.pair).any()
    assert all(whole.startswith(part) for whole, part in zip(texts_of(known, texts), texts_of(known, cut), strict=True))
    upper = corrupted(known, texts, "upper_case", 1.0, generator(0, "x"))
    assert torch.equal(upper.flat, again.flat) == (lowercase == "true")
    assert not set(MARKS) & set("".join(texts_of(known, upper)))


def test_a_run_on_texts_is_tested_at_every_strength_and_clean_as_before(on_texts):
    config, trained = on_texts("stage=baseline", folder="trained")
    tested = finetune(config, trained)
    words = ("stage=evaluate", f"stage.run={trained.folder}", "stage.text_corruptions.typos=[0.001,0.9]")
    settings, run = on_texts(*words, folder="evaluated")
    result = evaluate(settings, run)
    (one,), (row,) = result["runs"], result["rows"]
    assert one["clean"] == tested["test_accuracy"] == 1
    assert one["macro_f1"]["clean"] == tested["macro_f1"]
    assert list(result["strengths"]) == list(CORRUPTIONS)
    assert [len(one["corruptions"][name]) for name in result["strengths"]] == [2, 5, 5, 5, 5, 5]
    assert [len(one["macro_f1"]["corruptions"][name]) for name in result["strengths"]] == [2, 5, 5, 5, 5, 5]
    assert one["corruptions"]["typos"][0] == 1 > one["corruptions"]["typos"][1]
    assert row["macro_f1"]["corruptions"]["typos"]["lost"] > 0
    assert one["corruptions"]["upper_case"] == [1] * 5  # its tokenizer ignores case
    assert result["caveats"] == [
        "the tokenizer ignores upper_case, lower_case, random_case: no token of a test text changes by it"
    ]
    for name in ("corruptions.png", "inputs.png", "languages.png"):
        assert (run.folder / name).stat().st_size > 3000
    assert evaluate(*on_texts(*words, folder="again"))["runs"] == result["runs"]


def test_case_counts_where_the_tokenizer_keeps_it(on_texts):
    config, trained = on_texts("stage=baseline", "dataset.tokenizer.lowercase=false", folder="trained")
    finetune(config, trained)
    result = evaluate(*on_texts("stage=evaluate", f"stage.run={trained.folder}", folder="evaluated"))
    assert result["runs"][0]["corruptions"]["upper_case"][-1] < result["runs"][0]["clean"]
    assert result["caveats"] == []


def test_a_comparison_on_texts_has_a_row_for_each_arm_with_the_classical_ones(on_texts, capsys):
    config, whole = on_texts("stage=compare", "dataset.labelled_languages=[en]", folder="whole")
    compared = compare(config, whole)
    result = evaluate(*on_texts("stage=evaluate", f"stage.run={whole.folder}", folder="evaluated"))
    assert [row["arm"] for row in result["rows"]] == [row["arm"] for row in compared["rows"]]
    assert [row["clean"]["mean"] for row in result["rows"]] == [row["mean"] for row in compared["rows"]]
    assert [row["languages"] for row in result["rows"]] == [row["languages"] for row in compared["rows"]]
    table.show_corruptions(result["rows"], "texts")
    table.show_languages(result["rows"], "texts")
    said = capsys.readouterr().out
    assert all(row["arm"] in said for row in result["rows"])
    assert all(name in said for name in (*CORRUPTIONS, "macro-F1", "32 labels"))
    assert "…" not in said


def test_labels_of_one_language_leave_the_others_zero_shot(on_texts):
    config, run = on_texts("stage=baseline", "dataset.labelled_languages=[en]")
    result = finetune(config, run)
    spoken = result["languages"]
    assert sum(one["inputs"] for one in spoken.values()) == 16
    assert (spoken["de"]["labels"], spoken["en"]["labels"]) == (0, result["labels"])
    assert spoken["en"]["accuracy"] == spoken["en"]["macro_f1"] == 1
    weighted = sum(one["inputs"] * one["accuracy"] for one in spoken.values()) / 16
    assert weighted == pytest.approx(result["test_accuracy"], abs=1e-5)
    data = load(config.dataset)
    english = data.train.inputs.languages == data.vocabulary.languages.index("en")
    assert torch.equal(data.train.labels >= 0, english)
    everything = load(on_texts("stage=baseline", folder="all")[0].dataset)
    assert everything.fingerprint() == data.fingerprint()  # so that both find the same pre-training
    assert torch.equal(everything.test.labels, data.test.labels)


def test_a_class_without_a_label_in_these_languages_is_none(on_texts):
    more = [(f"niemand sagt es je {number} mal", "german only", "de") for number in range(10)]
    data = load(on_texts("dataset.labelled_languages=[en]", texts=[*rows(), *more])[0].dataset)
    assert data.classes == ("bad", "good")
    assert data.test.labels.bincount().tolist() == [8, 8]
    assert len(data.train) == 64 + 8


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("[fr]", r"dataset\.labelled_languages=\[fr\]: must name some of the languages of the texts, which are de, en"),
        ("[]", r"dataset\.labelled_languages=\[\]: must name some"),
        ("[one]", r"dataset\.labelled_languages=\[one\]: leaves 1 classes with a label"),
    ],
)
def test_languages_that_are_not_there_or_teach_nothing_are_refused(on_texts, asked, sentence):
    texts = rows() if asked != "[one]" else [*rows(), ("a", "bad", "one"), ("b", "bad", "one"), ("c", "bad", "one")]
    with pytest.raises(ConfigError, match=sentence):
        load(on_texts(f"dataset.labelled_languages={asked}", texts=texts)[0].dataset)


def test_labels_of_languages_need_languages(on_texts):
    with pytest.raises(ConfigError, match="nothing says in which of several languages the texts are"):
        load(on_texts("dataset.labelled_languages=[en]", "dataset.columns.language=null")[0].dataset)


def test_other_texts_are_tokenised_anew_and_known_by_the_names_of_their_classes(on_texts, tmp_path):
    config, trained = on_texts(
        "stage=baseline", "dataset.columns.language=null", texts=rows(german=False), folder="trained"
    )
    finetune(config, trained)
    said = [(f"{row[0]} tomorrow {part}", *row[1:], part) for row in rows() for part in ("train", "test")]
    said += [(f"something else {number}", "another class", "en", part) for number, part in enumerate(("train", "test"))]
    path = tmp_path / "other.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label", "language", "part"), *said])
    words = (
        "stage=evaluate", f"stage.run={trained.folder}", "dataset@stage.other=texts", f"stage.other.root={path}",
        "stage.other.columns.split=part", f"stage.other.cache={tmp_path / 'cache'}", "stage.other.tokenizer.vocabulary=300",
    )  # fmt: skip
    alone = evaluate(*on_texts(*words, folder="one"))
    (one,) = alone["runs"]
    assert 0.5 < one["corruptions"]["texts"][0] < 1
    assert alone["caveats"][-1] == "1 of 81 texts of texts are of classes that training did not have, and are left out"
    assert set(one) >= {"corruptions"}
    spoken = evaluate(*on_texts(*words, "stage.other.columns.language=language", folder="two"))["runs"][0]["languages"]
    assert spoken["texts: en"]["accuracy"] == 1 > spoken["texts: de"]["accuracy"]
    assert spoken["texts: en"]["labels"] is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda row: (*row[:2], "fr"), "has texts in fr; .* was trained on texts in de, en"),
        (
            lambda row: (row[0], f"{row[1]} weather", row[2]),
            "has no class with the name of one that .* which are bad, good",
        ),
    ],
)
def test_other_texts_that_do_not_fit_are_refused(on_texts, tmp_path, change, sentence):
    config, trained = on_texts("stage=baseline", "schedule.supervised.max_steps=1", folder="trained")
    finetune(config, trained)
    path = table_of(tmp_path / "other.csv", [change(row) for row in rows(german=False)])
    with pytest.raises(ConfigError, match=sentence):
        evaluate(
            *on_texts(
                "stage=evaluate",
                f"stage.run={trained.folder}",
                "dataset@stage.other=texts",
                f"stage.other.root={path}",
                "stage.other.columns.language=language",
                f"stage.other.cache={tmp_path / 'cache'}",
                folder="evaluated",
            )
        )


def test_a_classical_run_is_evaluated_as_it_was_tested(cli, tmp_path):
    path = table_of(tmp_path / "weather.csv", rows())
    words = (f"dataset.root={path}", f"dataset.cache={tmp_path / 'cache'}", "dataset.tokenizer.vocabulary=320")
    done = cli(
        "classical", "stage.features=vectors", "dataset=texts", *words, "budget.labels=8", "augment=text", "backbone=bag",
        "runtime.threads=1", "hydra.run.dir=run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = cli("evaluate", "stage.run=run", "runtime.threads=1", "hydra.run.dir=evaluated")
    assert done.returncode == 0, done.stderr
    assert "Note: the tokenizer ignores upper_case" in done.stdout + done.stderr
    tested, result = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("run", "evaluated"))
    assert result["runs"][0]["clean"] == tested["test_accuracy"]
