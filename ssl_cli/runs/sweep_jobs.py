"""The jobs of a sweep, those that have not begun too, by Hydra's record of it."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.runs.reading import DamagedError, is_file, read_yaml

RECORD = "multirun.yaml"  # Hydra's
MOST = 10_000  # jobs that are counted


@dataclass(frozen=True)
class Job:
    """One job of a sweep: its folder, and its values of the settings that the sweep varies."""

    folder: Path
    words: tuple[str, ...]


def is_sweep(folder: Path) -> bool:
    """Whether Hydra has recorded a sweep in a folder."""
    return is_file(folder / RECORD)


def jobs_of(folder: Path) -> list[Job]:
    """The jobs of a sweep in their order; none where the record does not say them, as with a sweeper that searches.

    Raises:
        DamagedError: the record cannot be read.
    """
    record = read_yaml(folder / RECORD) or {}
    try:
        hydra: dict[str, Any] = record["hydra"]
        words: list[str] = hydra["overrides"]["task"]
        is_plain = hydra["sweep"]["subdir"] == "${hydra.job.num}" and "basic_sweeper" in hydra["sweeper"]["_target_"]
        more = bool(hydra["sweeper"].get("params"))
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{RECORD} is not what Hydra writes") from error
    if not is_plain or more:
        return []
    return [Job(folder / str(number), values) for number, values in enumerate(_varied(words))]


def _varied(words: list[str]) -> list[tuple[str, ...]]:
    """For each job the words that the sweep varies."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    choices: list[list[str]] = []
    jobs = 1
    try:
        for override in OverridesParser.create().parse_overrides(words):
            if override.is_sweep_override():
                values = list(itertools.islice(override.sweep_string_iterator(), MOST))
                choices.append([f"{override.get_key_element()}={value}" for value in values])
                jobs *= len(values)
    except (HydraException, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{RECORD} has an override that cannot be read") from error
    if jobs >= MOST:
        raise DamagedError(f"{RECORD} has {MOST:,} jobs or more")
    return list(itertools.product(*choices))
