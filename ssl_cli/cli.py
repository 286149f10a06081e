"""The command: overrides in, one checked config, one stage; a user's mistake is one sentence and exit code 2."""

import importlib
import logging
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssl_cli import __version__
from ssl_cli.errors import ConfigError, Interrupted, TrainingError

log = logging.getLogger("ssl_cli")

MISTAKE, FAILED = 2, 1


def main() -> None:
    """Entry point of `ssl-cli`."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    _say_to_terminal()
    arguments = sys.argv[1:]
    if arguments == ["--version"]:
        print(f"ssl-cli {__version__}")
        return
    with _Exits():
        resume = [word for word in arguments if word.startswith("resume=")]
        if resume:
            arguments = _resumed(resume[0].partition("=")[2], [word for word in arguments if word not in resume])
            if arguments is None:
                return
        _with_hydra(arguments)


def _with_hydra(arguments: list[str]) -> None:
    """Check the command line as a whole, then let Hydra compose it and call the stage."""
    import hydra
    from hydra._internal.utils import get_args_parser

    from ssl_cli import config

    stages = [path.stem for path in (config.folder() / "stage").glob("*.yaml")]
    words = [f"stage={word}" if word in stages else word for word in arguments]
    asked, unknown = get_args_parser().parse_known_intermixed_args(words)  # options may stand between overrides
    options = list(words)
    for override in asked.overrides:
        options.remove(override)
    sys.argv = [sys.argv[0], *options, *asked.overrides]
    if unknown:
        raise ConfigError(*(f"{word}: no such option; see ssl-cli --help" for word in unknown))
    if asked.help:
        from ssl_cli import help

        print(help.text(asked.overrides, asked.config_dir), end="")
        return
    if not (asked.hydra_help or asked.shell_completion or asked.info):
        config.precheck(asked.overrides, asked.multirun, asked.config_dir, asked.config_name)

    failures: list[str] = []

    def task(settings: Any) -> None:
        from hydra.core.hydra_config import HydraConfig

        job = HydraConfig.get()
        sweep = Path(job.sweep.dir).absolute() if asked.multirun else None
        with _Exits():
            try:
                _run(config.check(config.resolved(settings)), Path(job.runtime.output_dir), sweep)
            except TrainingError as error:
                if sweep is None:
                    raise
                failures.append(f"{job.job.override_dirname}: {error}")  # the other jobs go on

    hydra.main(config_path=str(config.folder()), config_name=config.NAME, version_base="1.3")(task)()
    if failures:
        raise TrainingError("\n".join(failures))


def _run(settings: Any, folder: Path, sweep: Path | None = None) -> None:
    """One stage in its folder, and the closing words."""
    from ssl_cli.runs import Run, logged, short

    is_new = not folder.exists() or not any(folder.iterdir())
    run = Run(folder, settings)
    try:
        with logged(folder):
            finished = run.result is not None
            result = _stage(settings.stage.name)(settings, run)
            _close(result, folder, finished)
    except ConfigError:
        if is_new and not any(folder.rglob("checkpoint.pt")):  # what only shows once data is read leaves nothing either
            shutil.rmtree(folder)
        raise
    except Interrupted:
        log.info("Go on with: ssl-cli resume=%s", shlex.quote(short(sweep or folder)))
        raise


def _stage(name: str) -> Callable[..., dict[str, Any]]:
    return getattr(importlib.import_module(f"ssl_cli.stages.{name}"), name)


def _close(result: dict[str, Any], folder: Path, finished_before: bool) -> None:
    """The number, the folder, and what to type next."""
    if finished_before:
        log.info("This run was finished already; nothing is done again.")
    from ssl_cli.runs import short

    place = shlex.quote(short(folder))
    from ssl_cli.report import table

    if result["stage"] in ("compare", "simclr_v2"):
        labels = f"{result['labels']:,} labels, {result['backbone']}"
        table.show(result["rows"], f"{result['dataset']}, {labels}")
        log.info("Weights that count: %s.", result["protocol"])
        for caveat in result["caveats"]:
            log.info("To know: %s.", caveat)
        collapsed = [str(p["seed"]) for p in result["pretrainings"] if p["collapsed"]]
        if collapsed:
            log.info("Collapsed in pre-training, counted apart: seed %s.", ", ".join(collapsed))
        log.info("Report: %s/report.html (%.0f s)", place, result["seconds"])
        log.info("Next: ssl-cli -m budget.labels=50,100,200    what each label buys")
    elif result["stage"] == "probe":
        table.show_layers(result)
        log.info("Weights that count: %s. Picture: %s/probe.png (%.0f s)", result["protocol"], place, result["seconds"])
        log.info("Next: ssl-cli probe budget=all    with every label, the usual linear evaluation")
    elif result["stage"] == "evaluate":
        table.show_shifts(result["rows"], f"{result['dataset']}, shifted")
        log.info("%s. Pictures: %s/shifts.png and inputs.png (%.0f s)", result["protocol"], place, result["seconds"])
        log.info("Next: ssl-cli compare stage.seeds=3    several seeds, whose spread an evaluation shows")
    elif result["stage"] == "league":
        table.show_league(result["rows"], f"{result['dataset']}, {result['labels']:,} labels, {result['backbone']}")
        log.info(
            "Weights that count: %s. Picture: %s/league.png (%.0f s)", result["protocol"], place, result["seconds"]
        )
    elif result["stage"] == "pretrain":
        knn = result["knn_accuracy"]
        shown = "" if knn is None else f", kNN accuracy {100 * knn:.1f} % (training labels, display only)"
        log.info("Pre-trained in %.0f s: loss %.3f%s. In %s", result["seconds"], result["loss"], shown, place)
        log.info("Next: ssl-cli finetune checkpoint=%s    with the same settings", place)
    else:
        log.info(
            "Test accuracy %.1f %% with %s labels: %s, %.0f s. In %s",
            100 * result["test_accuracy"], f"{result['labels']:,}", result["arm"], result["seconds"], place,
        )  # fmt: skip
        for caveat in result["caveats"]:
            log.info("To know: %s.", caveat)
        log.info("Next: ssl-cli compare    the same settings with every arm beside it")


# Going on with a run


def _resumed(target: str, others: list[str]) -> list[str] | None:
    """Go on with a run, or give the command line that goes on with a sweep.

    Raises:
        ConfigError: there is nothing to go on with.
    """
    folder = Path(target).expanduser().absolute()
    trusted = tuple(word.partition("=")[2] for word in others if word.startswith("trust="))
    rest = [word for word in others if not word.startswith("trust=")]
    if rest:
        raise ConfigError(f"{rest[0]}: a resumed run keeps its settings; resume=RUN takes only trust=PACKAGE beside it")
    if (folder / "multirun.yaml").exists():
        return _sweep_arguments(folder)
    if not (folder / "config.yaml").exists():
        raise ConfigError(
            f"resume={target}: is no run's folder; name the one that the run said, such as outputs/compare/…"
        )
    import json

    import yaml

    from ssl_cli import config

    settings = yaml.safe_load((folder / "config.yaml").read_text())
    foreign = config.foreign_targets(settings, trusted)
    if foreign:
        raise ConfigError(
            f"resume={target}: would run code of {foreign[0]}; if you trust it, add trust={foreign[0].split('.')[0]}"
        )
    born = Path(json.loads((folder / "run.json").read_text())["folder"])
    if born.is_dir():
        os.chdir(born)
    _run(config.check(settings), folder)
    return None


def _sweep_arguments(folder: Path) -> list[str]:
    """Hydra keeps a sweep's command line; given its folder again, finished jobs are done at once."""
    import yaml

    saved = yaml.safe_load((folder / "multirun.yaml").read_text())["hydra"]
    born = Path(saved["runtime"]["cwd"])
    if not born.is_dir():
        raise ConfigError(f"resume={folder}: the folder where the sweep was typed, {born}, is not there any more")
    os.chdir(born)
    kept = [word for word in saved["overrides"]["hydra"] if not word.startswith(("hydra.sweep.dir=", "hydra.mode="))]
    sources = saved["runtime"]["config_sources"]
    own = [
        word for source in sources if source["provider"] == "command-line" for word in ("--config-dir", source["path"])
    ]
    return ["-m", *own, *kept, *saved["overrides"]["task"], f"hydra.sweep.dir='{folder}'"]


# Words and exit codes


class _Exits:
    """Every way out: a mistake is a sentence and 2, a failed training 1, a signal 128 + its number."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: type | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ConfigError):
            for problem in error.problems:
                _complain(problem)
            sys.exit(MISTAKE)
        if isinstance(error, TrainingError):
            _complain(str(error))
            sys.exit(FAILED)
        if isinstance(error, Interrupted):
            sys.exit(128 + error.signal_number)


def _complain(sentence: str) -> None:
    red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"{red}ssl-cli: {sentence}{plain}", file=sys.stderr)


def _interrupt(number: int, _frame: object) -> None:
    raise Interrupted(number)


def _say_to_terminal() -> None:
    """Progress bars stay whole: what is said goes above them."""

    class Terminal(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            from tqdm import tqdm

            tqdm.write(self.format(record), file=sys.stdout)
            sys.stdout.flush()

    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(Terminal())
