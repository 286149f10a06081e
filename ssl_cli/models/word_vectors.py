"""Features of texts from vectors of their words, without a network: counts of neighbours, factored and averaged."""

from collections.abc import Iterable
from itertools import islice
from typing import Any, Self

import numpy as np

WINDOW = 5  # words on either side that are neighbours; one at distance d counts 1/d
SMOOTHING = 0.75  # exponent of how often a word is a neighbour
MOST_WORDS = 50_000  # the most frequent ones, which have vectors
COUNTED_AT_ONCE = 20_000  # texts


class WordVectors:
    """The mean of a text's word vectors, rare words weighing more, with length 1.

    Vectors are the left singular vectors of the matrix of positive pointwise mutual information between words and their
    neighbours, times the roots of the singular values (Levy and Goldberg, 2014, who show that skip-gram factors such a matrix;
    the smoothing is that of Levy, Goldberg and Dagan, 2015). A word's weight is its inverse document frequency, as in TF-IDF.
    Words are those of two letters and more, in at least two texts.

    Args:
        components: length of a vector; fewer where there are not as many words.
        seed: of the factorisation, which is random.
    """

    def __init__(self, components: int, seed: int):
        self.components, self.seed = components, seed

    def fit(self, texts: list[str]) -> Self:
        """Learn vectors from texts.

        Raises:
            ValueError: no word is in two of them.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import CountVectorizer

        self.counter = CountVectorizer(min_df=2, max_features=MOST_WORDS)
        counts: Any = self.counter.fit_transform(texts)
        self.weights = np.log((1 + len(texts)) / (1 + counts.count_nonzero(axis=0))) + 1
        known, words = self.counter.vocabulary_, self.counter.build_analyzer()
        numbered = ([known.get(word, -1) for word in words(text)] for text in texts)
        information = mutual_information(neighbours(numbered, len(known)))
        rank = max(1, min(self.components, len(self.weights) - 1))
        factored = TruncatedSVD(rank, random_state=self.seed)
        self.vectors = factored.fit_transform(information) / np.sqrt(np.maximum(factored.singular_values_, 1e-12))
        return self

    def transform(self, texts: list[str]) -> np.ndarray:
        """float (N, D); zeros for a text without a known word."""
        from sklearn.preprocessing import normalize

        # The length becomes 1, so that the sum is as good as the mean.
        counts: Any = self.counter.transform(texts)
        return np.asarray(normalize(counts.multiply(self.weights).tocsr() @ self.vectors))


def neighbours(texts: Iterable[list[int]], words: int) -> Any:
    """How often words are neighbours, by nearness: sparse (V, V), symmetric.

    Args:
        texts: the numbers of their words; −1 stands for a word that does not count and keeps its place.
        words: V.
    """
    from scipy.sparse import coo_array, csr_array

    total, rest = csr_array((words, words)), iter(texts)
    while part := list(islice(rest, COUNTED_AT_ONCE)):
        # Between texts is more room than a window.
        numbers = np.array([number for text in part for number in (*text, *[-1] * WINDOW)])
        for distance in range(1, WINDOW + 1):
            left, right = numbers[:-distance], numbers[distance:]
            both = (left >= 0) & (right >= 0)
            weight = np.full(int(both.sum()), 1 / distance)
            total = total + coo_array((weight, (left[both], right[both])), (words, words)).tocsr()
    return total + total.T


def mutual_information(counts: Any) -> Any:
    """Positive pointwise mutual information, max(0, ln p(w, c) / (p(w) p(c))), of counts of pairs: sparse (V, V) → (V, V)."""
    found = counts.tocoo()
    words, neighbours = np.asarray(counts.sum(1)).ravel(), np.asarray(counts.sum(0)).ravel() ** SMOOTHING
    total, shares = words.sum(), neighbours / max(neighbours.sum(), 1e-12)
    expected = words[found.row] / total * shares[found.col]
    found.data = np.maximum(np.log(found.data / total / expected), 0)
    return found.tocsr()
