import sys
from pathlib import Path

import pytest

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.data.text.docstrings import sentences_of
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.types import Dataset
from ssl_cli.errors import ConfigError


@pytest.fixture
def dataset(tmp_path):
    def read(*packages: str, most: int = 40, cache: str = "cache") -> Dataset:
        return load(
            from_overrides(
                "dataset=docstrings", f"dataset.packages=[{','.join(packages)}]", f"dataset.most={most}", "budget=all",
                "dataset.tokenizer.vocabulary=300", "backbone=bag", "augment=text", f"dataset.cache={tmp_path / cache}",
            ).dataset
        )  # fmt: skip

    return read


def write(folder: Path, name: str, subject: str) -> None:
    (folder / name / "tests").mkdir(parents=True)
    arguments = "Args:\n            a: No prose at all. None."
    methods = "".join(
        f'\n    def get_{n}(self):\n        """Gets {subject} {n}. It is then put on a shelf.\n        {arguments}"""\n'
        for n in range(9)
    )
    (folder / name / "__init__.py").write_text(
        f'raise SystemExit("imported")\nclass A:\n    """One sentence."""{methods}'
    )
    (folder / name / "tests" / "test.py").write_text('"""This is a test. It is left out."""')
    (folder / name / "broken.py").write_text('"""A file. It is for no Python"""\nprint "so"')


def test_installed_packages_give_documents_of_at_least_two_sentences(dataset):
    data = dataset("jinja2", "matplotlib")
    assert data.classes == ("jinja2", "matplotlib")
    assert data.train.labels.bincount().tolist() == [32, 32]
    assert data.test.labels.bincount().tolist() == [8, 8]
    marks = [(data.train.inputs.text(item) == data.vocabulary.sentence).sum() for item in range(len(data.train))]
    assert min(marks) >= 1
    assert dataset("jinja2", "matplotlib", cache="other").fingerprint() == data.fingerprint()


def test_source_is_read_and_not_imported_without_arguments_and_tests(dataset, tmp_path, monkeypatch):
    write(tmp_path, "fruit_shop", "apple")
    write(tmp_path, "book_shop", "novel")
    monkeypatch.syspath_prepend(tmp_path)
    data = dataset("fruit_shop", "book_shop")
    texts = texts_of(data.vocabulary, data.train.inputs) + texts_of(data.vocabulary, data.test.inputs)
    assert len(texts) == 18
    assert all(text.endswith("put on a shelf.") for text in texts)
    assert "fruit_shop" not in sys.modules


@pytest.mark.parametrize(
    ("docstring", "sentences"),
    [
        ("Reads a file. It must be there.", ("Reads a file.", "It must be there.")),
        ("Reads a file, e.g. a table.\n\n    Args:\n        path: Of it. And so on.", ("Reads a file, e.g. a table.",)),
        ("Makes a new one.\n\nParameters\n----------\nx : int\n    A number.", ("Makes a new one.",)),
        (
            "Makes a new one.\n\n>>> make(1). Then\n2.\n\nThat was an example.",
            ("Makes a new one.", "That was an example."),
        ),
        ("Makes a new one.\n:param x: A number. Any number.", ("Makes a new one.",)),
        ("Uses :class:`A` for it. `B` is used too.", ("Uses :class:`A` for it.", "`B` is used too.")),
        ("x", ()),
    ],
)
def test_sentences_are_those_of_the_prose(docstring, sentences):
    assert sentences_of(docstring) == sentences


def test_a_package_that_is_not_installed_has_its_sentence(dataset):
    with pytest.raises(ConfigError, match=r"dataset\.packages=no_such_thing: no such package is installed"):
        dataset("jinja2", "no_such_thing")
