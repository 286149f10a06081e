import csv
import math

import numpy as np
import pytest
from scipy.sparse import csr_array

from ssl_cli.config.compose import from_overrides
from ssl_cli.models.word_features import fitted
from ssl_cli.models.word_vectors import WordVectors, mutual_information, neighbours
from ssl_cli.runs.run import Run
from ssl_cli.stages.classical import classical
from ssl_cli.stages.classical_settings import PENALTIES
from ssl_cli.stages.compare import arms

DRINKS, TOOLS = ("tea", "coffee", "juice", "water"), ("hammer", "chisel", "spanner", "drill")
DRUNK, USED = ("drink a cup of {} now", "some more {} to sip"), ("hit the nail with {} hard", "repair it by {} again")


def sentences() -> list[str]:
    return [
        frame.format(word)
        for frames, words in ((DRUNK, DRINKS), (USED, TOOLS))
        for frame in frames
        for word in words
        for _ in range(5)
    ]


def cosine(vectors: WordVectors, one: str, other: str) -> float:
    return float(vectors.transform([one])[0] @ vectors.transform([other])[0])


def test_words_with_the_same_neighbours_have_alike_vectors_and_others_do_not():
    vectors = WordVectors(8, seed=0).fit(sentences())
    assert min(cosine(vectors, "tea", word) for word in DRINKS) > 0.9
    assert max(cosine(vectors, "tea", word) for word in TOOLS) < 0.05


def test_mutual_information_is_zero_of_what_is_independent_and_as_computed_by_hand_else():
    even = csr_array(np.outer([4.0, 2.0], [4.0, 4.0]))
    np.testing.assert_allclose(mutual_information(even).toarray(), 0, atol=1e-12)
    found = mutual_information(csr_array(np.array([[0.0, 6.0], [2.0, 0.0]]))).toarray()
    shares = np.array([2.0, 6.0]) ** 0.75
    shares /= shares.sum()
    expected = [[0, math.log(6 / 8 / (6 / 8 * shares[1]))], [math.log(2 / 8 / (2 / 8 * shares[0])), 0]]
    np.testing.assert_allclose(found, expected)


def test_neighbours_count_by_nearness_within_a_text():
    expected = [[0, 1, 1 / 2, 0], [1, 0, 1, 0], [1 / 2, 1, 2 / 3, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(neighbours([[0, 1, 2], [3], [2, -1, -1, 2]], 4).toarray(), expected)


def test_a_text_without_a_known_word_has_no_direction():
    assert not WordVectors(8, seed=0).fit(sentences()).transform(["unknown"]).any()


@pytest.mark.parametrize("features", PENALTIES)
def test_features_are_the_same_each_time_and_those_of_training_texts_are_those_of_equal_texts(features):
    texts = sentences()
    (first, read), (again, _) = fitted(features, texts, 4, seed=1), fitted(features, texts, 4, seed=1)
    one, two, others = (
        found if isinstance(found, np.ndarray) else found.toarray() for found in (first, again, read(texts))
    )
    assert one.tobytes() == two.tobytes()
    np.testing.assert_allclose(one, others, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-6)


@pytest.fixture
def words(tmp_path) -> tuple[str, ...]:
    """The command's words for a table of texts about drinks and tools."""
    path = tmp_path / "texts.csv"
    with path.open("w", newline="") as file:
        rows = [(f"{text} {number}", "tool" if number >= 40 else "drink") for number, text in enumerate(sentences())]
        csv.writer(file).writerows([("text", "label"), *rows])
    return (
        "dataset=texts", f"dataset.root={path}", "schedule=text",
        f"dataset.cache={tmp_path / 'cache'}", "dataset.tokenizer.vocabulary=300",
        "budget.labels=4", "augment=text", "backbone=bag", "runtime.threads=1",
    )  # fmt: skip


@pytest.mark.parametrize("features", PENALTIES)
def test_each_kind_of_features_tells_texts_apart_and_is_an_arm_of_a_comparison(tmp_path, words, features):
    config = from_overrides("stage=classical", f"stage.features={features}", "stage.components=8", *words)
    result = classical(config, Run(tmp_path / "run", config))
    assert result["test_accuracy"] == 1
    assert result["arm"] in [arm.stage.arm(arm) for _, arm in arms(from_overrides("stage=compare", *words))]
