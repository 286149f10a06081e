"""The settings in which runs differ."""

from collections.abc import Mapping
from typing import Any

from ssl_cli.runs.reading import flattened

LABELS = "budget.labels"
IN_COLUMNS = ("seed", LABELS, "stage.name")  # of every table of runs


def what_varies(runs: Mapping[Any, Mapping[str, Any]]) -> dict[Any, dict[str, Any]]:
    """By run, its values of the settings in which the runs differ, but for those that have columns of their own.

    Where runs differ in the choice of a group, that is said, and not also what comes with it: of the settings in such a group,
    those in which runs of the same choice differ.

    Args:
        runs: settings, nested as they are saved.
    """
    flat = {run: dict(flattened(dict(settings))) for run, settings in runs.items()}
    keys = list(dict.fromkeys(key for settings in flat.values() for key in settings))
    differing = [key for key in keys if len({str(settings.get(key)) for settings in flat.values()}) > 1]
    named = [key.removesuffix("name") for key in differing if key.endswith(".name") and key.count(".") == 1]
    shown = [
        key
        for key in differing
        if key not in IN_COLUMNS
        and (
            key.endswith(".name") or not any(key.startswith(group) and _comes_with(key, group, flat) for group in named)
        )
    ]
    return {run: {key: settings.get(key) for key in shown} for run, settings in flat.items()}


def _comes_with(key: str, group: str, flat: Mapping[Any, Mapping[str, Any]]) -> bool:
    """Whether a setting has one value for each choice of its group."""
    values: dict[Any, set[str]] = {}
    for settings in flat.values():
        values.setdefault(settings.get(f"{group}name"), set()).add(str(settings.get(key)))
    return all(len(found) == 1 for found in values.values())


def as_words(settings: Mapping[str, Any]) -> list[str]:
    """Settings as one would type them."""
    return [f"{key.removesuffix('.name').removesuffix('.kind')}={value}" for key, value in settings.items()]
