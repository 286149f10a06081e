import sys

import pytest

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import facts_of, load
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError


@pytest.fixture
def dataset(tmp_path):
    def read(*overrides: str) -> Dataset:
        return load(
            from_overrides(
                "dataset=huggingface", f"dataset.path={tmp_path / 'saved'}", "dataset.tokenizer.vocabulary=300",
                "budget=all", "backbone=bag", "augment=text", f"dataset.cache={tmp_path / 'cache'}", *overrides,
            ).dataset
        )  # fmt: skip

    return read


@pytest.fixture
def saved(tmp_path):
    """A data set with train, test and unsupervised, as the library saves it."""
    library = pytest.importorskip("datasets")

    def part(word: str, count: int, labels: list[int]):
        columns = {"text": [f"{word} text number {item}" for item in range(count)], "label": labels}
        features = library.Features(
            {"text": library.Value("string"), "label": library.ClassLabel(names=["bad", "good"])}
        )
        return library.Dataset.from_dict(columns, features=features)

    parts = {
        "train": part("some", 10, [0, 1] * 5),
        "test": part("other", 4, [0, 1] * 2),
        "unsupervised": part("no", 3, [-1] * 3),
    }
    library.DatasetDict(parts).save_to_disk(tmp_path / "saved")


def test_a_saved_data_set_is_read_with_its_splits_and_names(saved, dataset):
    data = dataset()
    facts = facts_of(data)
    assert data.classes == ("bad", "good")
    assert (facts.inputs, facts.unlabelled, facts.test) == (10, 3, 4)
    assert data.test.labels.tolist() == [0, 1, 0, 1]


def test_a_column_that_there_is_not_has_its_sentence(saved, dataset):
    with pytest.raises(
        ConfigError, match=r"dataset\.text=body: train of .*saved has no such column; it has text, label"
    ):
        dataset("dataset.text=body")


def test_without_the_package_the_sentence_says_what_to_install(dataset, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"pip install 'ssl-cli\[huggingface\]'"):
        dataset()
