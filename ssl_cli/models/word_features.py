"""Features of texts that count words: TF-IDF, LSA, and averaged word vectors."""

from collections.abc import Callable
from typing import Any

from ssl_cli.models.word_vectors import WordVectors

Read = Callable[[list[str]], Any]  # texts → (N, D), sparse or dense


def fitted(features: str, texts: list[str], components: int, seed: int) -> tuple[Any, Read]:
    """Features fitted on texts: those of the same texts, and what gives those of others.

    Args:
        features: `tfidf`; `lsa`, its first components with length 1; or `vectors`, see `WordVectors`.
        texts: all training texts.
        components: of `lsa`, or length of a word's vector; fewer where there are fewer words.
        seed: of what is random in `lsa` and `vectors`.

    Raises:
        ValueError: no word is in two texts.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    if features == "vectors":
        vectors = WordVectors(components, seed).fit(texts)
        return vectors.transform(texts), vectors.transform
    weights = TfidfVectorizer(sublinear_tf=True, min_df=2)
    found = weights.fit_transform(texts)
    if features == "tfidf":
        return found, weights.transform
    svd = TruncatedSVD(max(min(components, found.shape[1] - 1, found.shape[0] - 1), 1), random_state=seed)
    return normalize(svd.fit_transform(found)), lambda others: normalize(svd.transform(weights.transform(others)))
