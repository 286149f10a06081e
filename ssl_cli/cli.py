"""The command: overrides in, one checked config, one stage; a user's mistake is one sentence and exit code 2."""

import importlib
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssl_cli import __version__, trust
from ssl_cli.errors import ConfigError, Interrupted, TrainingError
from ssl_cli.typed import Allowed, anything

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
        arguments = trust.take(arguments)
        if not any(word.startswith("resume=") for word in arguments):
            _with_hydra(arguments, anything)
            return
        from ssl_cli import resume

        folder = resume.folder_asked_for(arguments)
        if resume.is_sweep(folder):
            _with_hydra(resume.sweep_arguments(folder), trust.from_a_file)
        else:
            _run(resume.settings(folder), folder)


def _with_hydra(arguments: list[str], allowed: Allowed) -> None:
    """Check the command line as a whole, then let Hydra compose it and call the stage.

    Args:
        arguments: as typed, or as recorded in a sweep's folder.
        allowed: which components they may name.
    """
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
        config.precheck(asked.overrides, asked.multirun, asked.config_dir, asked.config_name, allowed)
    if asked.multirun:
        _check_sweep_folder(config.sweep_folder(asked.overrides, asked.config_dir, asked.config_name))

    failures: list[str] = []
    trusted = trust.granted()

    def task(settings: Any) -> None:
        from hydra.core.hydra_config import HydraConfig

        job = HydraConfig.get()
        sweep = Path(job.sweep.dir).absolute() if asked.multirun else None
        with _Exits():
            trust.grant(trusted)  # a launcher may have started another process for this job
            checked = config.check(config.resolved(settings), allowed)
            trust.trust_components_of(checked)
            try:
                _run(checked, Path(job.runtime.output_dir), sweep)
            except TrainingError as error:
                if sweep is None:
                    raise
                failures.append(f"{job.job.override_dirname}: {error}")  # the other jobs go on

    hydra.main(config_path=str(config.folder()), config_name=config.NAME, version_base="1.3")(task)()
    if failures:
        raise TrainingError("\n".join(failures))


def _check_sweep_folder(folder: Path) -> None:
    """Raises ConfigError where Hydra would write into a folder of other people's files, or through a link."""
    from ssl_cli import resume
    from ssl_cli.files import others

    record = folder / resume.SWEEP
    if record.is_symlink():
        raise ConfigError(
            f"hydra.sweep.dir={folder}: its {resume.SWEEP} is a link; a sweep writes only files of its own"
        )
    names = others(folder)
    if names and not resume.is_sweep(folder):
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise ConfigError(
            f"hydra.sweep.dir={folder}: holds files that are not a sweep's ({shown}); choose a new or an empty folder"
        )


def _run(settings: Any, folder: Path, sweep: Path | None = None) -> None:
    """One stage in its folder, and the closing words."""
    from ssl_cli.runs import Run, logged, short

    run = Run(folder, settings)
    if run.result:
        _close(run.result, folder, finished_before=True)
        return
    with run.claimed():
        try:
            with logged(folder):
                _close(_stage(settings.stage.name)(settings, run), folder, finished_before=False)
        except ConfigError:
            run.discard()  # what only shows once data is read leaves nothing either
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
