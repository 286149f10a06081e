"""Arms in tables and charts: each has its place and its colour, whatever else is shown."""

import itertools
from collections.abc import Iterable
from typing import Any

COLLAPSED = " (collapsed)"  # suffix of an arm's name

# In the order in which they are shown. Of the words that an arm's name contains, the first decide, and of these the longest. The
# colours are those of Okabe and Ito, which people who confuse red and green can tell apart.
KNOWN = {
    "logistic regression": "#a0403c",
    "random weights": "#8a8f98",
    "labels only": "#e69f00",
    "labels only, with augmentation": "#d55e00",
    "published weights": "#cc79a7",
    "pre-trained, frozen": "#56b4e9",
    "pre-trained, same head": "#0072b2",
    "pre-trained": "#5b5ea6",
    "pre-trained, new head": "#009e73",
    "distilled": "#24292f",
}
OTHERS = ("#7a5c3e", "#b8a100", "#4d7c8a", "#c2559d", "#6b7f2a")  # for what is not known, or is there twice

# What pre-training has to beat; the first has the augmentation of pre-trained arms. They are chosen by that, and never by
# accuracies.
RIVALS = ("labels only, with augmentation", "labels only")
# What has learnt from labels and nothing else.
WITHOUT_PRETRAINING = ("logistic regression", "random weights", *RIVALS)


def ordered(arms: Iterable[str]) -> list[str]:
    """Names of arms, each once, in the order in which they are shown; those that are not known last, as they come."""
    places = list(KNOWN)

    def place(arm: str) -> int:
        words = _known_words(arm)
        return len(places) if words is None else places.index(words)

    return sorted(dict.fromkeys(arms), key=place)


def in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by number of labels, and then in the order of their arms."""
    found = list(rows)
    order = ordered(row["arm"] for row in found)
    return sorted(found, key=lambda row: (row["labels"], order.index(row["arm"])))


def colours(arms: Iterable[str]) -> dict[str, str]:
    """A colour for each arm, in the order in which they are shown.

    A known arm has its own, and the first of several that are known by the same words; others take one of their own, and then one
    of those that no arm here has.
    """
    names = ordered(arms)
    found: dict[str, str] = {}
    for arm in names:
        words = _known_words(arm)
        if words is not None and KNOWN[words] not in found.values():
            found[arm] = KNOWN[words]
    free = itertools.cycle([*OTHERS, *(colour for colour in KNOWN.values() if colour not in found.values())])
    return {arm: found[arm] if arm in found else next(free) for arm in names}


def is_without_pretraining(arm: str) -> bool:
    """Whether an arm has learnt from labels and nothing else."""
    return _known_words(arm) in WITHOUT_PRETRAINING


def _known_words(arm: str) -> str | None:
    found = [words for words in KNOWN if words in arm]
    return min(found, key=lambda words: (arm.index(words), -len(words)), default=None)
