"""`ssl-cli diff RUN RUN`: what differs between two runs, in settings and in numbers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ssl_cli.cli.runs.commands import Options
from ssl_cli.cli.runs.screen import number_text, say, show_table
from ssl_cli.errors import ConfigError
from ssl_cli.runs.below import SeenRun, asked_folder, is_run, seen
from ssl_cli.runs.files import printable
from ssl_cli.runs.reading import flattened, number

HEADINGS = ("setting", "number")


def main(options: Options, words: Sequence[str]) -> None:
    """Print settings, then numbers of results, that differ."""
    options.add_argument("runs", nargs=2, metavar="RUN", help="the folder of a run")
    first, second = (_run(value) for value in options.read(words).runs)
    names = (_name(first.folder), _name(second.folder))
    if names[0] == names[1]:
        names = (str(first.folder), str(second.folder))
    settings = list(_differing(_flat(first.settings), _flat(second.settings)))
    numbers = list(_differing(dict(_numbers(first.result or {})), dict(_numbers(second.result or {}))))
    for heading, lines in zip(HEADINGS, (settings, numbers), strict=True):
        if lines:
            show_table((heading, *names), lines)
        else:
            say(f"No {heading} differs.")
    for run, name in zip((first, second), names, strict=True):
        if run.result is None:
            say(f"{name}: is not finished, so it has no numbers.")


def _run(value: str) -> SeenRun:
    """The run that a person names.

    Raises:
        ConfigError: it is none, or is damaged.
    """
    folder = asked_folder(value)
    if not is_run(folder):
        raise ConfigError(f"{printable(value)}: is no run's folder; name two of those that ssl-cli list shows")
    run = seen(folder)
    if run.damage:
        raise ConfigError(f"{printable(value)}: damaged: {run.damage}")
    return run


def _name(folder: Path) -> str:
    """The last two parts, which say the stage and the date."""
    return "/".join(folder.parts[-2:])


def _flat(settings: dict[str, Any]) -> dict[str, str]:
    """Settings by their keys; a choice of a group is told by its name, not also by what carries it out."""
    flat = {key: str(value) for key, value in flattened(settings)}
    return {key: value for key, value in flat.items() if not (key.endswith("._target_") and _name_of(key) in flat)}


def _name_of(target: str) -> str:
    return f"{target.removesuffix('_target_')}name"


def _numbers(result: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The numbers of a result by their keys; rows of a table by the first name in them."""
    for key, value in result.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, list) and all(isinstance(row, dict) for row in value):
            for place, row in enumerate(value):
                name = next((item for item in row.values() if isinstance(item, str)), place)
                yield from _numbers(row, f"{prefix}{key}[{name}].")
        elif number(value) is not None or isinstance(value, bool):
            yield f"{prefix}{key}", number_text(value)


def _differing(first: dict[str, str], second: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    for key in dict.fromkeys((*first, *second)):
        values = (first.get(key, "–"), second.get(key, "–"))
        if values[0] != values[1]:
            yield (key, *values)
