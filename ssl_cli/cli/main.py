"""The command: overrides in, one checked config, one stage; a user's mistake is one sentence and exit code 2."""

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_cli import __version__
from ssl_cli.cli.carry_out import carry_out, settle
from ssl_cli.cli.runs.commands import COMMANDS, carry_out_command
from ssl_cli.cli.sweeps.jobs import Jobs
from ssl_cli.cli.sweeps.started import check_plugins, started, with_plugin_settings
from ssl_cli.cli.terminal import FAILED, Exits, interrupt, log_to_terminal
from ssl_cli.config import compose, groups, overrides, trust
from ssl_cli.config.schema import Config
from ssl_cli.config.trust import settings_folder
from ssl_cli.config.typecheck import Allowed, anything
from ssl_cli.errors import ConfigError, Interrupted
from ssl_cli.runs.result import read_result
from ssl_cli.training import launch

if TYPE_CHECKING:
    from ssl_cli.cli.sweep import Sweep

log = logging.getLogger("ssl_cli")


def main() -> None:
    """Entry point of `ssl-cli`. Of processes launched together, the first one is the command, and the others follow it."""
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    log_to_terminal()
    with Exits():
        launch.listen_to_slurm()
        if not launch.launched():
            _command(sys.argv[1:])
            return
        from ssl_cli.training.distributed import leading_launched
        from ssl_cli.training.follow import follow_launched

        if launch.rank():
            sys.exit(0 if follow_launched() else FAILED)
        with leading_launched():
            _command(sys.argv[1:])


def _command(arguments: list[str]) -> None:
    if arguments == ["--version"]:
        print(f"ssl-cli {__version__}")
        return
    if arguments and arguments[0] in COMMANDS:
        carry_out_command(arguments[0], arguments[1:])
        return
    arguments = trust.take(arguments)
    if not any(word.startswith("resume=") for word in arguments):
        _with_hydra(arguments, anything)
        return
    from ssl_cli.cli import resume
    from ssl_cli.runs.sweep_jobs import can_go_on

    folder = resume.folder_asked_for(arguments)
    if can_go_on(folder):
        _with_hydra(resume.sweep_arguments(folder), trust.from_a_file)
    else:
        carry_out(resume.settings(folder), folder)


def _with_hydra(arguments: list[str], allowed: Allowed) -> None:
    """Check the command line as a whole, then let Hydra compose it and call the stage.

    Args:
        arguments: as typed, or as recorded in a sweep's folder.
        allowed: which components they may name.
    """
    import hydra
    from hydra._internal.utils import get_args_parser

    asked, unknown = get_args_parser().parse_known_intermixed_args(arguments)  # options may stand between overrides
    options = list(arguments)
    for override in asked.overrides:
        options.remove(override)
    if asked.config_dir and not Path(asked.config_dir).is_dir():
        raise ConfigError(
            f"--config-dir={asked.config_dir}: is no folder; it must be one with folders such as method/ in it"
        )
    if asked.config_path:
        raise ConfigError(
            f"--config-path={asked.config_path}: the settings of this program stand in its own folder; "
            "--config-dir=FOLDER adds those of another one"
        )
    stages = groups.groups(asked.config_dir)["stage"].choices
    asked.overrides = [f"stage={word}" if word in stages else word for word in asked.overrides]
    sys.argv = [sys.argv[0], *options, *asked.overrides]
    if unknown:
        raise ConfigError(*(f"{word}: no such option; see ssl-cli --help" for word in unknown))
    if asked.help:
        from ssl_cli.cli import help

        print(help.text(asked.overrides, asked.config_dir), end="")
        return
    sweep, made = None, []
    if asked.multirun:
        if asked.cfg:
            raise ConfigError("--cfg: shows the settings of one run, and -m is a sweep; leave one of the two out")
        asked.overrides = with_plugin_settings(asked)
    if asked.multirun and not (asked.hydra_help or asked.shell_completion or asked.info):
        sweep = _prepare_sweep(asked, allowed)
        if sweep.is_answered:
            sweep.close()
            return
        sweep.refer()
        asked.overrides = sweep.words
    else:
        made = _check(asked, allowed)
    sys.argv = [sys.argv[0], *options, *asked.overrides]
    jobs = Jobs(_job(allowed, asked.multirun, sweep is not None and sweep.is_known))
    program = hydra.main(config_path=str(settings_folder()), config_name=overrides.NAME, version_base="1.3")(jobs)
    if asked.shell_completion and any(word.startswith("query=") for word in asked.overrides):
        from ssl_cli.cli import completion

        shell = next(word for word in asked.overrides if word.startswith("query=")).partition("=")[2]
        completion.with_stages(program, shell)
        return
    if sweep is None:
        from ssl_cli.cli.folders import gone_if_empty

        with gone_if_empty(made):
            program()
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # what a sweeper or a launcher raises comes out as it is
    configs = [job.config for job in sweep.jobs]
    with started(sweep.settings.hydra, jobs, configs, len(sweep.to_train), sweep.folder):
        program()
    sweep.raise_failures()


def _prepare_sweep(asked: argparse.Namespace, allowed: Allowed) -> "Sweep":
    """A sweep whose command line is checked, networks and data of the jobs that are to be trained too."""
    from ssl_cli.cli.sweep import prepare

    sweep = prepare(asked, allowed)
    check_plugins(sweep.settings.hydra, [job.config for job in sweep.jobs])
    if sweep.to_train:
        _check_fit([job.config for job in sweep.to_train])
    if (shared := sweep.data_of_all) is not None:
        from ssl_cli.data.dataset import load

        with _before_it_begins("sweep"):
            load(shared)  # what cannot be read is said once, and not by each job
    return sweep


def _check(asked: argparse.Namespace, allowed: Allowed) -> list[Path]:
    """The folders that are to be made; ConfigError with all that is wrong with a command line, before one is."""
    from ssl_cli.cli.folders import check_can_be_made, not_there

    if asked.hydra_help or asked.shell_completion or asked.info:
        return []
    where = (asked.config_dir, asked.config_name)
    jobs = compose.composed_jobs(asked.overrides, False, *where, allowed)
    if asked.cfg:
        return []
    compose.check_is_one_run(asked.overrides, *where)
    key, folder = compose.folder_of("run", asked.overrides, *where)
    _check_fit([job.config for job in jobs], is_finished=read_result(folder) is not None)
    check_can_be_made(key, folder)
    return not_there(folder)


def _job(allowed: Allowed, in_sweep: bool, is_looked_for: bool) -> Callable[[Any], Path]:
    """One job with its settings, maybe in another process; the folder of its run.

    Args:
        allowed: which components the settings may name.
        in_sweep: whether it is a job of a sweep.
        is_looked_for: whether the run that answers it was looked for before the sweep began.
    """
    trusted, command = trust.granted(), sys.argv[1:]

    def carry_out_one(settings: Any) -> Path:
        from hydra.core.hydra_config import HydraConfig

        from ssl_cli.cli.sweep_job import carry_out_job
        from ssl_cli.runs.referred import forget

        job = HydraConfig.get()
        folder, words = Path(job.runtime.output_dir), list(job.overrides.task)
        trust.grant(trusted)
        if in_sweep:
            if not is_looked_for:
                # What answered the job of that name in an earlier sweep, which may have been another one.
                forget(folder)
            return carry_out_job(settings, words, command, folder, Path(job.sweep.dir).absolute(), allowed)
        config = compose.check(compose.resolved(settings), allowed)
        trust.trust_components_of(config)
        with _before_it_begins("run"):
            config = settle(config, settings, words, folder, allowed)
        carry_out(config, folder)
        return folder

    return carry_out_one


@contextlib.contextmanager
def _before_it_begins(what: str) -> Generator[None]:
    """Whoever stops a command while it reads data, or waits for another one, is told that there is nothing to go on with."""
    try:
        yield
    except Interrupted:
        log.info("Stopped before the %s began; the same command begins it.", what)
        raise


def _check_fit(configs: list[Config], is_finished: bool = False) -> None:
    """Raises ConfigError where networks, methods, data and what any job starts from do not fit together, before data is read.

    A run that is finished starts from nothing any more: what it started from may have been removed since.
    """
    configs = [config for config in configs if not config.stage.reads_runs_alone]
    if not configs:
        return  # without PyTorch
    from ssl_cli.stages.fit import check_fit
    from ssl_cli.stages.start import check_named_folders

    problems: list[str] = []
    for config in configs:
        for check in (check_fit,) if is_finished else (check_fit, check_named_folders):
            try:
                check(config)
            except ConfigError as error:
                problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise ConfigError(*problems)
