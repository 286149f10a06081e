"""How a sweep is started: what its launcher and its sweeper are told beyond what was typed, and who shows how it goes."""

import argparse
import contextlib
import logging
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from ssl_cli.cli.sweeps.jobs import Jobs
from ssl_cli.cli.sweeps.launchers import THREADS, check_launcher, launcher_of
from ssl_cli.cli.sweeps.search import check_search, nothing_found, objective
from ssl_cli.config import compose
from ssl_cli.config.choices import CANNOT
from ssl_cli.config.overrides import key_of
from ssl_cli.config.plugins import SAMPLER, is_search
from ssl_cli.config.schema import Config
from ssl_cli.cores import cores

log = logging.getLogger("ssl_cli")

# Libraries of plugins that tell of what they set up, or, where a Slurm keeps no accounts, of that once a second.
CHATTY = ("alembic", "submitit", "optuna.storages")


def with_plugin_settings(asked: argparse.Namespace) -> list[str]:
    """The words of a sweep, with those that its launcher and its sweeper need where the same keys were not typed."""
    try:
        hydra = compose.hydra_of(asked.overrides, asked.config_dir, asked.config_name)
    except CANNOT:  # which is said where all words are checked
        return asked.overrides
    launcher, searching = launcher_of(hydra.launcher), is_search(hydra.sweeper)
    words = [] if launcher is None else list(launcher.words)
    if searching:
        words = [word for word in words if key_of(word) != "hydra.sweeper.max_batch_size"]
        at_once = 1 if launcher is None else launcher.at_once(hydra.launcher, cores()) or 2
        words += [
            "hydra.sweeper.direction=maximize",
            "hydra.sweeper.max_failure_rate=1.0",
            f"hydra.sweeper.n_jobs={at_once}",
        ]
        if f"{SAMPLER}=grid" not in asked.overrides:
            words.append("hydra.sweeper.sampler.seed=0")  # so that a search that is gone on with tries the same again
    typed = {key_of(word) for word in asked.overrides}
    return [*(word for word in words if key_of(word) not in typed), *asked.overrides]


def check_plugins(hydra: Any, configs: Sequence[Config]) -> None:
    """Raises ConfigError where the launcher or the sweeper in Hydra's settings of a sweep cannot do what it is asked for."""
    check_launcher(hydra.launcher)
    if is_search(hydra.sweeper):
        check_search(configs, hydra.sweeper)


@contextlib.contextmanager
def started(hydra: Any, jobs: Jobs, configs: Sequence[Config], to_train: int, sweep: Path) -> Generator[None]:
    """Meanwhile a sweep runs: its jobs share this machine's threads, and report what they say and how they end.

    Args:
        hydra: Hydra's settings of the sweep.
        jobs: what Hydra calls for each job.
        configs: of the jobs.
        to_train: how many of them no finished run answers.
        sweep: the folder of the sweep.
    """
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    if is_search(hydra.sweeper):
        jobs.gives, count, batch = objective, int(hydra.sweeper.n_trials), int(hydra.sweeper.n_jobs)
        to_train = count
    else:
        count, batch = len(configs), hydra.sweeper.get("max_batch_size")
    launcher = launcher_of(hydra.launcher)
    with contextlib.ExitStack() as meanwhile:
        if launcher is not None:
            from ssl_cli.cli.sweeps.watch import watched

            jobs.reports = meanwhile.enter_context(watched(sweep, count, launcher.end_waiting)).reports
            at_once = launcher.at_once(hydra.launcher, min(to_train, batch or to_train))
            meanwhile.enter_context(_threads(at_once, configs))
        meanwhile.enter_context(nothing_found())
        yield


@contextlib.contextmanager
def _threads(at_once: int | None, configs: Sequence[Config]) -> Generator[None]:
    """Processes that start meanwhile are told their share of this machine's cores, which `runtime.threads=auto` keeps to."""
    if at_once is None or THREADS in os.environ:
        yield
        return
    share = max(1, cores() // at_once)
    if any(config.runtime.threads == "auto" for config in configs):
        plural = "s" if share > 1 else ""
        log.info(
            "%s jobs at a time on %s cores, with %s thread%s each (runtime.threads).", at_once, cores(), share, plural
        )
    os.environ[THREADS] = str(share)
    try:
        yield
    finally:
        del os.environ[THREADS]
