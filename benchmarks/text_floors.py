"""What a data set of texts gives without any network: TF-IDF of words and pairs of words, and logistic regression.

python benchmarks/text_floors.py dataset=commands
python benchmarks/text_floors.py dataset=texts dataset.root=FILE.csv
"""

import sys

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.budget import label_order
from ssl_cli.data.dataset import labelled, load
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.types import Split, as_texts

LABELS = (50, 200, 500)
DRAWS = 3


def accuracy(words: list[str], labels: np.ndarray, test_words: list[str], test_labels: np.ndarray) -> float:
    vectors = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    return make_pipeline(vectors, LogisticRegression(C=10, max_iter=1000)).fit(words, labels).score(
        test_words, test_labels
    )  # fmt: skip


def main(overrides: list[str]) -> None:
    config = from_overrides("backbone=bag", "augment=text", "budget=all", "runtime.threads=1", *overrides)
    data = load(config.dataset)
    vocabulary = data.vocabulary
    if vocabulary is None:
        raise SystemExit(f"dataset={data.name}: has no texts")

    def read(split: Split) -> tuple[list[str], np.ndarray]:
        return texts_of(vocabulary, as_texts(split.inputs)), split.labels.numpy()

    words, labels = read(labelled(data, "dataset"))
    test = read(data.test)
    often = np.bincount(test[1]).max() / len(test[1])
    print(f"{len(words):,} labelled training texts, {len(test[0]):,} of the test, {len(data.classes)} classes")
    print(f"most frequent class  {100 * often:5.1f} %")
    for count in LABELS:
        if count < min(len(words), len(data.classes)):
            continue
        found = []
        for draw in range(DRAWS):
            order = label_order(torch.from_numpy(labels), "balanced", torch.Generator().manual_seed(draw))
            picked = order[:count].numpy()
            found.append(accuracy([words[item] for item in picked], labels[picked], *test))
        print(f"{count:5} labels         {100 * np.mean(found):5.1f} % ± {100 * np.std(found):.1f}")
    print(f"all labels           {100 * accuracy(words, labels, *test):5.1f} %")


if __name__ == "__main__":
    main(sys.argv[1:])
