"""`ssl-cli list`: all runs below a folder, and what tells them apart."""

from collections.abc import Mapping, Sequence
from typing import Any

from ssl_cli.cli.runs.commands import DEFAULT_FOLDER, Options
from ssl_cli.cli.runs.screen import inside, percent, reading_bar, show_table, size, when
from ssl_cli.runs.below import SeenRun, asked_folder, disk_size, jobs_and_parts, no_runs, runs_below
from ssl_cli.runs.files import short
from ssl_cli.runs.reading import moment, number
from ssl_cli.runs.state import status_of
from ssl_cli.runs.sweep_jobs import answered_elsewhere
from ssl_cli.runs.varying import as_words, what_varies

HEADS = ("run", "stage", "arm", "labels", "seed", "accuracy", "size", "began", "settings that differ")
NUMBERS = ("labels", "seed", "accuracy", "size")
BENEATH = ("settings that differ", "arm", "stage")
PLACES = ("outputs",)  # where runs are put tells none from another
SHOWN = 8  # settings that differ, of one run


def main(options: Options, words: Sequence[str]) -> None:
    """Print one line a run, newest last."""
    options.add_argument("folder", nargs="?", default=DEFAULT_FOLDER, help="with runs below it (default: outputs)")
    options.add_argument("--parts", action="store_true", help="also runs inside others, such as a comparison's arms")
    asked = options.read(words)
    folder = asked_folder(asked.folder)
    runs = runs_below(folder, reading_bar)
    elsewhere = answered_elsewhere(folder)
    if not (runs or elsewhere):
        raise no_runs(asked.folder)
    inner: dict[Any, list[SeenRun]] = {run.folder: parts for run, parts in jobs_and_parts(runs)}
    shown = {run.folder: run for run in runs if run.folder in inner or (asked.parts and run.result is not None)}
    shown |= elsewhere
    differing = what_varies({run.folder: run.settings for run in shown.values() if not run.damage})
    lines = []
    for place, run in sorted(shown.items(), key=lambda one: moment(one[1].began)):
        status = status_of(run, inner.get(run.folder, []))
        name = inside(place, folder) + (f", in {short(run.folder)}" if place != run.folder else "")
        if run.damage:
            lines.append((name, "", "", "", "", "damaged", size(disk_size(run.folder)), "", run.damage))
            continue
        lines.append((
            name, run.named("stage"), _arm(run), _labels(run), _text(run.settings.get("seed")),
            _accuracy(run) if run.result else status.state, size(disk_size(run.folder)), when(run.began),
            " ".join(_words(differing[run.folder])),
        ))  # fmt: skip
    show_table(HEADS, lines, NUMBERS, BENEATH)


def _arm(run: SeenRun) -> str:
    """What tables call a finished run, where that is more than its stage."""
    arm = _text((run.result or {}).get("arm"))
    return "" if arm == run.named("stage") else arm


def _accuracy(run: SeenRun) -> str:
    """On the test set, or else of nearest neighbours, which is said."""
    is_tested = number((run.result or {}).get("test_accuracy")) is not None
    return percent(run.accuracy) + ("" if is_tested or run.accuracy is None else " kNN")


def _labels(run: SeenRun) -> str:
    """How many labels a finished run saw, or an unfinished one may see."""
    budget: Any = run.settings.get("budget")
    asked = budget.get("labels") if isinstance(budget, dict) else None
    found = number((run.result or {}).get("labels", asked))
    return "" if found is None else f"{found:,.0f}"


def _words(settings: Mapping[str, Any]) -> list[str]:
    kept = {key: value for key, value in settings.items() if value is not None and key not in PLACES}
    words = as_words(kept)
    return words if len(words) <= SHOWN else [*words[:SHOWN], f"and {len(words) - SHOWN} more (ssl-cli diff)"]


def _text(value: Any) -> str:
    return str(value) if isinstance(value, (str, int)) else ""
