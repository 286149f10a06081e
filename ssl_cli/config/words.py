"""Words of the command line as they are typed: quoted for Hydra, and put together with those that a sweep's settings bring."""

import re
from collections.abc import Mapping, Sequence


def for_hydra(value: str) -> str:
    """A value as it stands on the command line behind a key, in quotes where Hydra would read more than a text in it."""
    plain = re.fullmatch(r"[\w./@+-]+( [\w./@+-]+)*", value, re.ASCII)
    if plain and ("/" in value or re.fullmatch(r"(?!null|true|false|inf|nan)[a-zA-Z].*", value)):
        return value
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)  # in quotes, a backslash counts before a quote alone
    end = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{escaped[len(escaped) - end :]}'"


def with_params(params: Mapping[str, object], words: Sequence[str]) -> list[str]:
    """The words of a sweep with those that its settings bring, as Hydra's own sweeper puts them together: of a key, the last one.

    Args:
        params: `hydra.sweeper.params`, such as those of an experiment.
        words: as typed; they take the place of those with the same key.
    """
    found = {key: f"{key}={value}" for key, value in params.items()}
    for word in words:
        found[word.partition("=")[0]] = word
    return list(found.values())
