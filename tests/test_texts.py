import csv
import gzip
import json
import logging
from pathlib import Path

import pytest

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.types import UNKNOWN, Dataset, Split
from ssl_cli.errors import ConfigError

GOOD = [f"what a fine and pleasant day number {item}" for item in range(10)]
BAD = [f"this was an awful and dull evening, the {item}th" for item in range(10)]
ROWS = [*((text, "good") for text in GOOD), *((text, "bad") for text in BAD)]


@pytest.fixture
def dataset(tmp_path):
    """The data set of a command line, with a small vocabulary and a cache of this test's own."""

    def read(root: Path, *overrides: str) -> Dataset:
        return load(
            from_overrides(
                "dataset=texts", f"dataset.root={root}", "dataset.tokenizer.vocabulary=300",
                f"dataset.cache={tmp_path / 'cache'}", "budget=all", "backbone=bag", "augment=text", *overrides,
            ).dataset
        )  # fmt: skip

    return read


def texts(data: Dataset, split: Split) -> list[str]:
    assert data.vocabulary is not None
    return texts_of(data.vocabulary, split.inputs)  # pyright: ignore[reportArgumentType]


def labelled(data: Dataset) -> set[tuple[str, str]]:
    """All texts of both parts with the names of their classes."""
    return {
        (text, data.classes[label])
        for split in (data.train, data.test)
        for text, label in zip(texts(data, split), split.labels.tolist(), strict=True)
        if label != UNKNOWN
    }


def write_table(path: Path, rows: list, header: tuple = ("text", "label"), encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([header, *rows])
    return path


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def as_parquet(path: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"text": [row[0] for row in ROWS], "label": [row[1] for row in ROWS]}), path)
    return path


def packed(path: Path) -> Path:
    target = path.with_name(f"{path.name}.gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return target


def as_folders(root: Path) -> Path:
    for number, (text, label) in enumerate(ROWS):
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f"{number}.txt").write_text(text)
    return root


FORMS = {
    "csv": lambda folder: write_table(folder / "a.csv", ROWS),
    "tsv": lambda folder: write_table(folder / "a.tsv", ROWS),
    "jsonl": lambda folder: write_lines(folder / "a.jsonl", [{"text": t, "label": label} for t, label in ROWS]),
    "csv.gz": lambda folder: packed(write_table(folder / "a.csv", ROWS)),
    "jsonl.gz": lambda folder: packed(write_lines(folder / "a.jsonl", [{"text": t, "label": x} for t, x in ROWS])),
    "csv with a byte-order mark": lambda folder: write_table(folder / "a.csv", ROWS, encoding="utf-8-sig"),
    "parquet": lambda folder: as_parquet(folder / "a.parquet"),
    "folders": lambda folder: as_folders(folder / "a"),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_format_gives_the_same_texts_and_labels(tmp_path, dataset, form):
    data = dataset(FORMS[form](tmp_path))
    assert data.classes == ("bad", "good")
    assert labelled(data) == set(ROWS)
    assert (len(data.train), len(data.test)) == (16, 4)
    assert data.vocabulary.size == 300


def test_the_held_out_test_has_the_same_share_of_each_class_and_is_always_the_same(tmp_path, dataset):
    first = dataset(write_table(tmp_path / "a.csv", ROWS))
    second = dataset(tmp_path / "a.csv", f"dataset.cache={tmp_path / 'other'}", "seed=5")
    assert first.test.labels.bincount().tolist() == [2, 2]
    assert texts(first, first.test) == texts(second, second.test)
    assert not set(texts(first, first.test)) & set(texts(first, first.train))
    half = dataset(tmp_path / "a.csv", "dataset.test_fraction=0.5")
    assert half.test.labels.bincount().tolist() == [5, 5]


@pytest.mark.parametrize("folders", [True, False])
def test_a_folder_with_train_and_test_is_split_as_it_says(tmp_path, dataset, folders):
    root = tmp_path / "a"
    root.mkdir()
    for name, rows in (("train", [*ROWS[:8], *ROWS[10:18]]), ("test", [*ROWS[8:10], *ROWS[18:]])):
        if folders:
            for number, (text, label) in enumerate(rows):
                (root / name / label).mkdir(parents=True, exist_ok=True)
                (root / name / label / f"{number}.txt").write_text(text)
        else:
            write_table(root / f"{name}.csv", rows)
    if folders:
        (root / "unlabelled").mkdir()
        (root / "unlabelled" / "x.txt").write_text("nobody knows what this is")
    else:
        write_table(root / "unlabelled.csv", [["nobody knows what this is"]], header=("text",))
    data = dataset(root)
    assert set(texts(data, data.test)) == {*GOOD[8:], *BAD[8:]}
    assert len(data.train) == 17
    assert [text for text, label in zip(texts(data, data.train), data.train.labels, strict=True) if label < 0] == [
        "nobody knows what this is"
    ]


def test_a_split_column_says_what_is_for_the_test_and_what_has_no_label(tmp_path, dataset):
    rows = [(*row, "test" if number % 5 == 0 else "train") for number, row in enumerate(ROWS)]
    rows.append(("a text that nobody labelled", "good", "unlabelled"))
    data = dataset(write_table(tmp_path / "a.csv", rows, ("text", "label", "part")), "dataset.columns.split=part")
    assert set(texts(data, data.test)) == {text for number, (text, _) in enumerate(ROWS) if number % 5 == 0}
    assert (data.train.labels == UNKNOWN).sum() == 1


def test_rows_without_a_label_are_for_pre_training(tmp_path, dataset):
    rows = [*ROWS, *((f"no label {item}", "") for item in range(5))]
    data = dataset(write_table(tmp_path / "a.csv", rows))
    assert (data.train.labels == UNKNOWN).sum() == 5
    assert (data.test.labels == UNKNOWN).sum() == 0
    data = dataset(write_table(tmp_path / "b.csv", rows), "dataset.columns.label=null")
    assert len(data.train) == 25
    assert not data.classes


def test_a_second_text_stands_behind_the_token_for_pairs(tmp_path, dataset):
    rows = [(text, label, f"and so {number}") for number, (text, label) in enumerate(ROWS)]
    rows.append(("a text alone", "good", ""))
    path = write_table(tmp_path / "a.csv", rows, ("text", "label", "answer"))
    data = dataset(path, "dataset.columns.second=answer")
    for split in (data.train, data.test):
        for item, text in enumerate(texts(data, split)):
            count = (split.inputs.text(item) == data.vocabulary.pair).sum()
            assert count == (text != "a text alone")
    assert any(text.endswith("and so 3") for split in (data.train, data.test) for text in texts(data, split))


def test_sentences_are_rows_of_a_document_or_stand_between_marks(tmp_path, dataset):
    rows = [
        (part, label, str(number)) for number, (text, label) in enumerate(ROWS) for part in (text, f"Next {number}.")
    ]
    by_rows = dataset(
        write_table(tmp_path / "rows.csv", rows, ("text", "label", "from")), "dataset.columns.document=from"
    )
    marked = [(f"{text} || Next {number}. || ", label) for number, (text, label) in enumerate(ROWS)]
    by_marks = dataset(write_table(tmp_path / "marks.csv", marked), "dataset.sentences=' || '")
    for data in (by_rows, by_marks):
        assert (len(data.train), len(data.test)) == (16, 4)
        for item in range(16):
            assert (data.train.inputs.text(item) == data.vocabulary.sentence).sum() == 1
    assert labelled(by_rows) == labelled(by_marks)


def test_rows_of_no_document_are_texts_of_their_own(tmp_path, dataset):
    rows = [(text, label, "") for text, label in ROWS]
    data = dataset(write_table(tmp_path / "a.csv", rows, ("text", "label", "from")), "dataset.columns.document=from")
    assert len(data.train) + len(data.test) == 20


def test_languages_are_named_and_numbered(tmp_path, dataset):
    rows = [(text, label, "de" if number % 2 else "en") for number, (text, label) in enumerate(ROWS)]
    path = write_table(tmp_path / "a.csv", rows, ("text", "label", "language"))
    data = dataset(path, "dataset.columns.language=language")
    assert data.vocabulary.languages == ("de", "en")
    spoken = dict(zip(texts(data, data.train), data.train.inputs.languages.tolist(), strict=True))
    assert all(spoken[text] == (number % 2 == 0) for number, (text, _) in enumerate(ROWS) if text in spoken)


def test_what_says_no_language_is_not_taken_for_one_that_another_row_has(tmp_path, dataset):
    rows = [(text, label, "" if number % 2 else "en") for number, (text, label) in enumerate(ROWS)]
    path = write_table(tmp_path / "a.csv", rows, ("text", "label", "language"))
    data = dataset(path, "dataset.columns.language=language")
    spoken = dict(zip(texts(data, data.train), data.train.inputs.languages.tolist(), strict=True))
    assert {
        data.vocabulary.languages[spoken[text]]
        for number, (text, _) in enumerate(ROWS)
        if text in spoken and number % 2
    } == {""}


def test_empty_duplicate_and_badly_encoded_texts_are_left_out_counted_and_listed(tmp_path, dataset, caplog):
    path = write_table(tmp_path / "a.csv", [*ROWS, ("  ", "good"), ROWS[0], ROWS[3], ("", "only in an empty text")])
    with path.open("ab") as file:
        file.write(b"caf\xe9 au lait,good\n")
    with caplog.at_level(logging.INFO, logger="ssl_cli"):
        data = dataset(path)
    assert labelled(data) == set(ROWS)
    assert data.classes == ("bad", "good")
    assert "5 texts are left out (2 duplicate, 2 empty, 1 encoding)" in caplog.text
    (listed,) = (tmp_path / "cache").rglob("skipped.csv")
    assert listed.read_text().split() == [
        "place,reason", "a.csv:22,empty", "a.csv:23,duplicate", "a.csv:24,duplicate", "a.csv:25,empty", "a.csv:26,encoding",
    ]  # fmt: skip


def test_of_equal_texts_the_one_with_a_label_stays(tmp_path, dataset):
    data = dataset(write_table(tmp_path / "a.csv", [(GOOD[0], ""), (GOOD[0], ""), *ROWS, (BAD[0], "")]))
    assert labelled(data) == set(ROWS)
    assert len(data.train) + len(data.test) == 20


def test_a_training_text_that_is_also_a_test_text_is_left_out_of_training(tmp_path, dataset):
    root = tmp_path / "a"
    root.mkdir()
    write_table(root / "train.csv", ROWS)
    write_table(root / "test.csv", [ROWS[0], ROWS[10], ROWS[10]])
    data = dataset(root)
    assert sorted(texts(data, data.test)) == sorted([GOOD[0], BAD[0], BAD[0]])
    assert set(texts(data, data.train)) == {*GOOD[1:], *BAD[1:]}


def test_tokens_are_made_once_and_used_again(tmp_path, dataset):
    path = write_table(tmp_path / "a.csv", ROWS)
    first = dataset(path)
    (about,) = (tmp_path / "cache").rglob("about.json")
    made = about.stat().st_mtime_ns
    again = dataset(path, "dataset.name=again")
    assert about.stat().st_mtime_ns == made
    assert again.fingerprint() == first.fingerprint()
    write_table(path, ROWS[:-1])
    dataset(path, "dataset.name=changed")
    assert len(list((tmp_path / "cache").rglob("about.json"))) == 2
    assert not list((tmp_path / "cache").rglob(".making-*"))


def test_what_looks_like_a_special_token_is_text(tmp_path, dataset):
    rows = [*ROWS, *((f"[MASK] and [PAD] and [SEP] are words {item}", "odd") for item in range(5))]
    path = write_table(tmp_path / "a.csv", rows)
    data = dataset(path, "dataset.tokenizer.lowercase=false")
    for split in (data.train, data.test):
        assert not set(split.inputs.packed().flat.tolist()) & set(data.vocabulary.special)


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path, dataset):
    rows = [(f"{text} {number}", number % 11) for number, (text, _) in enumerate(ROWS * 3)]
    assert dataset(write_table(tmp_path / "a.csv", rows)).classes == tuple(map(str, range(11)))


def damaged(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-12])
    return path


MISTAKES = {
    "no such text column": (
        lambda folder: write_table(folder / "a.csv", ROWS, ("comment", "label")),
        [],
        r"dataset\.columns\.text=text: .*a\.csv has no such column; it has comment, label",
    ),
    "no such label column": (
        lambda folder: write_table(folder / "a.csv", ROWS, ("text", "class")),
        [],
        r"dataset\.columns\.label=label: .*a\.csv has no such column; it has text, class",
    ),
    "one class": (
        lambda folder: write_table(folder / "a.csv", ROWS[:10]),
        [],
        r"every label is 'good'; there must be at least two classes",
    ),
    "a label of the test alone": (
        lambda folder: write_table(
            folder / "a.csv", [*((*row, "train") for row in ROWS), ("new", "ugly", "test")], ("text", "label", "split")
        ),
        ["dataset.columns.split=split"],
        r"the test texts have labels that no training text has: ugly",
    ),
    "another part": (
        lambda folder: write_table(folder / "a.csv", [(*row, "dev") for row in ROWS], ("text", "label", "split")),
        ["dataset.columns.split=split"],
        r"a\.csv:2 has 'dev'; must be one of train, test, unlabelled",
    ),
    "unknown encoding": (
        lambda folder: write_table(folder / "a.csv", ROWS),
        ["dataset.encoding=utf-9"],
        r"dataset\.encoding=utf-9: is not known",
    ),
    "too many cells": (
        lambda folder: write_table(folder / "a.csv", [*ROWS, ("one", "two", "three")]),
        [],
        r"a\.csv: row 22 has 3 cells, and the header has 2",
    ),
    "no such folder": (lambda folder: folder / "nothing", [], r"nothing: there is no such file or folder"),
    "no file for training": (
        lambda folder: write_table(folder / "test.csv", ROWS).parent,
        [],
        r"has test texts and none to train on; add a file named train",
    ),
    "nothing to read": (lambda folder: folder, [], r"has neither \.txt files nor a file named train"),
    "another format": (
        lambda folder: write_table(folder / "a.xls", ROWS),
        [],
        r"a\.xls: must end in \.csv, \.tsv",
    ),
    "a header alone": (
        lambda folder: write_table(folder / "a.csv", []),
        [],
        r"dataset\.root: there is no training text",
    ),
    "a line that is no JSON": (
        lambda folder: write_table(folder / "a.jsonl", ROWS),
        [],
        r"a\.jsonl: line 1 is no JSON",
    ),
    "a line that is no object": (
        lambda folder: write_lines(folder / "a.jsonl", [["text", "label"]]),  # pyright: ignore[reportArgumentType]
        [],
        r"a\.jsonl: line 1 must be a JSON object",
    ),
    "half a compressed file": (
        lambda folder: damaged(packed(write_table(folder / "a.csv", ROWS))),
        [],
        r"a\.csv\.gz: cannot be read to its end",
    ),
    "no compressed file": (
        lambda folder: write_table(folder / "a.csv", ROWS).rename(folder / "a.csv.gz"),
        [],
        r"a\.csv\.gz: cannot be read to its end",
    ),
    "no Parquet file": (
        lambda folder: write_table(folder / "a.csv", ROWS).rename(folder / "a.parquet"),
        [],
        r"a\.parquet: is no readable Parquet file",
    ),
    "sentences and documents": (
        lambda folder: write_table(folder / "a.csv", ROWS),
        ["dataset.columns.document=label", "dataset.sentences=x"],
        r"rows are the sentences where dataset\.columns\.document is set",
    ),
    "too many languages": (
        lambda folder: write_table(
            folder / "a.csv",
            [(f"{text} {item}", label, item) for item in range(257) for text, label in ROWS[9:11]],
            ("text", "label", "language"),
        ),
        ["dataset.columns.language=language"],
        r"257 languages, and there can be 256",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_has_its_sentence(tmp_path, dataset, mistake):
    make, overrides, sentence = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=sentence):
        dataset(make(tmp_path), *overrides)
    assert not list((tmp_path / "cache").rglob(".making-*"))


def test_a_cache_that_cannot_be_written_has_its_sentence(tmp_path, dataset):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ConfigError, match=r"dataset\.cache=.*cannot be written"):
        dataset(write_table(tmp_path / "a.csv", ROWS))


def test_weights_of_another_tokenizer_are_refused(cli, tmp_path):
    words = (
        "dataset=texts", "augment=text", "backbone=bag", "schedule=smoke", "budget=all", "dataset.tokenizer.vocabulary=300",
        f"dataset.cache={tmp_path / 'cache'}", "runtime.threads=1",
    )  # fmt: skip
    one = write_table(tmp_path / "one.csv", ROWS)
    other = write_table(tmp_path / "other.csv", [(text[::-1], label) for text, label in ROWS])
    done = cli("pretrain", f"dataset.root={one}", *words, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert "[MASK]" in (tmp_path / "run" / "tokenizer.json").read_text(encoding="utf-8")
    same = cli("finetune", f"dataset.root={one}", *words, "checkpoint=run")
    assert same.returncode == 0, same.stderr
    refused = cli("finetune", f"dataset.root={other}", *words, "checkpoint=run")
    assert refused.returncode == 2
    assert "whose tokenizer is another than that of dataset=texts" in refused.stderr
