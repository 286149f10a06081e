"""`ssl-cli prune`: shows what finished runs no longer need, and removes it when told to."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ssl_cli.cli.runs.commands import DEFAULT_FOLDER, Options
from ssl_cli.cli.runs.screen import inside, reading_bar, say, show_table, size
from ssl_cli.errors import ConfigError
from ssl_cli.runs.below import SeenRun, is_run, runs_asked_for, runs_below, seen
from ssl_cli.runs.files import short
from ssl_cli.runs.prunable import prunable, remove


def main(options: Options, words: Sequence[str]) -> None:
    """Print what can go; remove it where `--yes` was typed, or a person says so."""
    options.add_argument("folder", nargs="?", default=DEFAULT_FOLDER, help="with runs below it (default: outputs)")
    options.add_argument("--yes", action="store_true", help="remove what would only be shown")
    asked = options.read(words)
    folder, runs = runs_asked_for(asked.folder, reading_bar)
    found = prunable(runs, _around(folder))
    going = [one for one in found if not one.kept]
    lines = [
        (inside(one.run.folder, folder), ", ".join(path.name for path in one.files), size(one.size), one.kept)
        for one in found
    ]
    if lines:
        show_table(("run", "files", "size", "kept because"), lines, ("size",), ("kept because", "files"))
    if not going:
        say(f"{short(folder)}: nothing can be removed.")
        return
    count, total = sum(len(one.files) for one in going), size(sum(one.size for one in going))
    if not (asked.yes or _agreed(f"Remove {count} files of {len(going)} finished runs ({total})? [y/N] ")):
        say(
            f"{count} files of {len(going)} finished runs can go, {total}. Nothing was removed; add --yes to remove them."
        )
        return
    freed = 0
    for one in going:
        try:
            freed += remove(one)
        except ConfigError as error:  # begun meanwhile
            say(f"Kept: {error}")
        except OSError as error:
            say(f"Kept: {short(one.run.folder)}: cannot be written into ({error.strerror or error})")
    say(f"Removed, {size(freed)}. Weights, results, settings and metrics are all there.")


def _around(folder: Path) -> list[SeenRun]:
    """Runs outside the folder: those that it lies in, and below `outputs` those that may start from one in it."""
    around = [seen(parent) for parent in folder.parents if is_run(parent)]
    roots = {Path(DEFAULT_FOLDER).absolute(), *(parent for parent in folder.parents if parent.name == DEFAULT_FOLDER)}
    return around + [run for root in sorted(roots) if root.is_dir() for run in runs_below(root, reading_bar)]


def _agreed(question: str) -> bool:
    """Whether a person at a terminal says yes."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False
