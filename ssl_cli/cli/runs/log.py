"""`ssl-cli log FOLDER --to tensorboard`: the metrics files of runs, in the form of other programs."""

import importlib.util
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ssl_cli.cli.runs.commands import DEFAULT_FOLDER, Options
from ssl_cli.cli.runs.screen import inside, reading_bar, say
from ssl_cli.data.progress import show_progress
from ssl_cli.errors import ConfigError
from ssl_cli.runs.below import SeenRun, asked_folder, no_runs, runs_below
from ssl_cli.runs.files import printable, short, write
from ssl_cli.runs.reading import all_lines, flattened, moment, number
from ssl_cli.runs.sweep_jobs import answered_elsewhere

EVENTS = "events.out.tfevents.ssl_cli"  # one file a run, replaced as a whole, so that no line is there twice
SHOWN_FROM = 20  # runs that take long enough for a bar
Lines = Iterable[tuple[int, dict[str, float]]]  # numbers by step
Named = Iterable[tuple[SeenRun, Lines, str]]


def main(options: Options, words: Sequence[str]) -> None:
    """Write what the metrics and results of all runs below a folder say."""
    options.add_argument("folder", nargs="?", default=DEFAULT_FOLDER, help="with runs below it (default: outputs)")
    options.add_argument("--to", choices=sorted(WRITERS), required=True, help="the program that is to show them")
    options.add_argument("--into", help="the folder to write into (default: tensorboard, or for wandb this one)")
    asked = options.read(words)
    package = importlib.util.find_spec(asked.to)
    if package is None or package.origin is None:  # a folder of that name, which these programs make, is no package
        raise ConfigError(f"--to={asked.to}: needs the package {asked.to}: pip install 'ssl-cli[{asked.to}]'")
    folder = asked_folder(asked.folder)
    runs = {run.folder: run for run in runs_below(folder, reading_bar)} | answered_elsewhere(folder)
    if not runs:
        raise no_runs(asked.folder)
    kept = [place for place, run in runs.items() if not run.damage and next(_lines(run), None) is not None]
    if not kept:
        raise ConfigError(f"{asked.folder}: none of its runs has metrics; a run writes them while it trains")
    into = Path(asked.into or ("tensorboard" if asked.to == "tensorboard" else ".")).expanduser().absolute()
    try:
        into.mkdir(parents=True, exist_ok=True)
        shown = show_progress(f"to {asked.to}", "runs", len(kept), SHOWN_FROM, kept)
        WRITERS[asked.to](((runs[place], _lines(runs[place]), _name(place, folder)) for place in shown), into)
    except OSError as error:
        raise ConfigError(f"--into={short(into)}: cannot be written into ({error.strerror or error})") from error
    say(
        f"{len(kept)} run{'s' if len(kept) > 1 else ''} written. Look at them with: {COMMANDS[asked.to].format(short(into))}"
    )


def _name(place: Path, asked: Path) -> str:
    """Of a run, or of a job that another run answers, below the folder that was asked for, or in it."""
    return place.name if place == asked else inside(place, asked)


def _lines(run: SeenRun) -> Iterator[tuple[int, dict[str, float]]]:
    """The metrics by step, and at the last step the numbers of the result."""
    step = 0
    for line in all_lines(run.folder / "metrics.jsonl"):
        reached = number(line.get("step"))
        numbers = dict(_numbers(line.items()))
        numbers.pop("step", None)
        if reached is not None and numbers:
            step = int(reached)
            yield step, numbers
    result = {f"result/{key}": value for key, value in _numbers((run.result or {}).items())}
    if step and result:
        yield step, result


def _numbers(values: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, float]]:
    return ((printable(key), found) for key, value in values if (found := number(value)) is not None)


def _settings(run: SeenRun) -> dict[str, Any]:
    plain = (str, int, float, bool)
    return {printable(key): value if isinstance(value, plain) else str(value) for key, value in flattened(run.settings)}


def _to_tensorboard(runs: Named, into: Path) -> None:
    """An event file for each run in a folder of its name, with its settings for the page of hyperparameters."""
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.summary.writer.record_writer import RecordWriter

    for run, lines, name in runs:
        began = moment(run.began)
        with tempfile.TemporaryFile() as file:
            # TensorBoard's EventFileWriter hands each event to a thread, which takes longer than all else.
            writer = RecordWriter(file)
            writer.write(Event(wall_time=began, file_version="brain.Event:2").SerializeToString())
            settings = summary_v2.hparams_pb(_settings(run), trial_id=name)
            writer.write(Event(wall_time=began, summary=settings).SerializeToString())
            for step, numbers in lines:
                values = [Summary.Value(tag=key, simple_value=value) for key, value in numbers.items()]
                writer.write(Event(wall_time=began, step=step, summary=Summary(value=values)).SerializeToString())
            (into / name).mkdir(parents=True, exist_ok=True)
            file.seek(0)
            write(into / name / EVENTS, file.read())


def _to_wandb(runs: Named, into: Path) -> None:
    """Runs of Weights & Biases that are kept on this disk; nothing is sent."""
    import wandb  # pyright: ignore[reportMissingImports]

    quiet = wandb.Settings(
        silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True, x_disable_meta=True
    )
    for run, lines, name in runs:
        told = run.born.get("run_id")
        own = told if isinstance(told, str) and re.fullmatch("[0-9a-f]{12}", told) else None
        logged = wandb.init(
            mode="offline", project="ssl_cli", dir=str(into), id=own, name=printable(name), config=_settings(run),
            settings=quiet,
        )  # fmt: skip
        for step, numbers in lines:
            logged.log(numbers, step=step)
        logged.finish()
    wandb.teardown()  # waits until all is on the disk


WRITERS: dict[str, Callable[[Named, Path], None]] = {"tensorboard": _to_tensorboard, "wandb": _to_wandb}
COMMANDS = {"tensorboard": "tensorboard --logdir {}", "wandb": "wandb sync {}/wandb/offline-run-*"}
