"""A sweep before Hydra carries it out: its folder, its jobs, and which of them finished runs answer already."""

import argparse
import functools
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from ssl_cli.cli.folders import check_can_be_made, check_sweep_folder
from ssl_cli.cli.sweep_progress import failures, say_where_jobs_are
from ssl_cli.cli.sweeps.launchers import launcher_of
from ssl_cli.config import compose
from ssl_cli.config.automatic import is_open
from ssl_cli.config.build import plain
from ssl_cli.config.overrides import key_of
from ssl_cli.config.schema import Config, DatasetComponent
from ssl_cli.config.typecheck import Allowed
from ssl_cli.config.words import for_hydra, with_params
from ssl_cli.data.stamp import data_stamp
from ssl_cli.errors import ConfigError, TrainingError
from ssl_cli.runs.asked import COUNTED
from ssl_cli.runs.claim import holder_of
from ssl_cli.runs.files import short
from ssl_cli.runs.identity import recorded
from ssl_cli.runs.known import Known, known_runs
from ssl_cli.runs.reading import is_file, read_yaml
from ssl_cli.runs.referred import Referral, forget, refer, referral
from ssl_cli.runs.result import read_result
from ssl_cli.runs.sweep_jobs import RECORD, is_plain
from ssl_cli.stages.recognise import recognised

log = logging.getLogger("ssl_cli")

DIR = "hydra.sweep.dir"
Stamp = Callable[[DatasetComponent], str | None]


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    folder: None where a sweeper of another kind says later which jobs there are.
    run: the folder of the run that answers it, its own or another one; None where it is to be trained.
    unfinished: that of a run of the same, which is gone on with.
    is_unread: whether only reading its data tells if one of the runs that were found answers it.
    """

    folder: Path | None
    config: Config
    run: Path | None = None
    unfinished: Path | None = None
    is_unread: bool = False


@dataclass(frozen=True)
class Sweep:
    """A checked command line of a sweep.

    folder: of the sweep; words: of the command line, with that folder.
    settings: what Hydra records of it; jobs: in the order of their numbers.
    """

    folder: Path
    words: list[str]
    settings: DictConfig
    jobs: list[Job]

    @property
    def to_train(self) -> list[Job]:
        """Jobs that no finished run answers."""
        return [job for job in self.jobs if job.run is None]

    @property
    def is_answered(self) -> bool:
        """Whether finished runs answer all jobs."""
        return bool(self.jobs) and not self.to_train

    @property
    def is_known(self) -> bool:
        """Whether it is known beforehand which jobs there are, and in which folders."""
        return all(job.folder is not None for job in self.jobs)

    @property
    def data_of_all(self) -> DatasetComponent | None:
        """The data that all jobs read which are to be trained, if they are trained in this process; None where they differ."""
        here = launcher_of(self.settings.hydra.launcher) is None
        found = [job.config.dataset for job in self.to_train if job.config.stage.trains]
        same = here and len(found) == len(self.to_train) and all(one == found[0] for one in found)
        return found[0] if same and found else None

    def refer(self) -> None:
        """Write into the folders of jobs which other runs they are answered by, or go on with."""
        for job in self.jobs:
            other = job.run or job.unfinished
            if job.folder is None or other == job.folder:
                continue
            if other is not None:
                refer(job.folder, other, {})
            else:
                forget(job.folder)
        if self.is_known:
            self._say_what_is_trained()

    def _say_what_is_trained(self) -> None:
        count, finished = len(self.jobs), len(self.jobs) - len(self.to_train)
        if self.is_answered:
            log.info(
                "%s; nothing is trained.",
                "The job has a finished run" if count == 1 else f"All {count} jobs have finished runs",
            )
            return
        interrupted = sum(job.unfinished is not None for job in self.to_train)
        for number, what in ((finished, "finished, and not trained again"), (interrupted, "gone on with")):
            if number:
                log.info("%s of %s jobs: %s.", number, count, what)
        unread = sum(job.is_unread for job in self.to_train)
        if unread:
            log.info("%s of %s jobs: whether there are finished runs is seen once their data are read.", unread, count)

    def close(self) -> None:
        """Finish a sweep whose jobs are all answered: what Hydra would leave of it, a line for each job, and its table."""
        from hydra._internal.callbacks import Callbacks

        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.settings, self.folder / RECORD)
        self.refer()
        say_where_jobs_are(self.folder)
        Callbacks(self.settings).on_multirun_end(config=self.settings, config_name=self.settings.hydra.job.config_name)

    def raise_failures(self) -> None:
        """After the last job, say again what those failed of that failed.

        Raises:
            ConfigError: all of them were refused.
            TrainingError: a training could not go on, or something in it was wrong.
        """
        failed = failures(self.folder)
        if failed:
            kind = ConfigError if all(one.why.refused for one in failed) else TrainingError
            raise kind("\n".join(map(str, failed)))


def prepare(asked: argparse.Namespace, allowed: Allowed) -> Sweep:
    """What a command line with `-m` is to do, all of it checked but for whether networks and data fit together.

    Raises:
        ConfigError: with every problem there is.
    """
    where, words = (asked.config_dir, asked.config_name), with_params({}, asked.overrides)
    try:
        settings = compose.sweep_settings(words, *where)
    except ConfigError:
        compose.composed_jobs(words, True, *where, allowed)  # which says more
        raise
    is_own = is_plain(cast(dict[str, Any], OmegaConf.to_container(settings.hydra, resolve=False)))
    params = dict(settings.hydra.sweeper.get("params") or {})
    composed = compose.composed_jobs(with_params(params, words), True, *where, allowed)
    key, folder = compose.folder_of("sweep", words, *where)
    check_can_be_made(key, folder)
    check_sweep_folder(folder)
    settings.hydra.sweep.dir = str(folder)
    settings.hydra.overrides.hydra = _in_folder(settings.hydra.overrides.hydra, folder)
    jobs = _jobs(folder, composed) if is_own else [Job(None, one.config) for one in composed]
    return Sweep(folder, _in_folder(words, folder), settings, jobs)


def _in_folder(words: Iterable[str], folder: Path) -> list[str]:
    """Words of a sweep with the folder that it writes into."""
    return [*(word for word in words if key_of(word) != DIR), f"{DIR}={for_hydra(str(folder))}"]


def _jobs(folder: Path, composed: Sequence[compose.Composed]) -> list[Job]:
    """The jobs of Hydra's own sweeper, each with the run that answers it.

    Raises:
        ConfigError: the folder of one has a run with other settings.
    """
    places = [folder / str(number) for number in range(len(composed))]
    known = functools.cache(lambda: known_runs(composed[0].config.outputs, folder.parent))
    stamp = _remembered_stamp()
    return [_job(place, one, known, stamp) for place, one in zip(places, composed, strict=True)]


def _job(place: Path, composed: compose.Composed, known: Callable[[], Known], stamp: Stamp) -> Job:
    config = composed.config
    if place.is_symlink():
        raise ConfigError(
            f"{DIR}={short(place.parent)}: its {place.name} is a link; a sweep writes only files of its own"
        )
    if is_file(place / "config.yaml"):
        _check_same(place, config)
        return Job(place, config, run=place if read_result(place) else None)
    if not (config.reuse and config.stage.trains):
        return Job(place, config)
    reference = referral(place)
    if reference is not None and holder_of(reference.run) is not None:
        return Job(place, config, unfinished=reference.run)
    if reference is not None and _answers_still(reference, config, stamp):
        return Job(place, config, run=reference.run)
    found = known()
    asked = recognised(config, composed.words, found.stamps, stamp)
    if asked is None:
        return Job(place, config, is_unread=bool(found.finished))
    return Job(place, config, found.finished.get(asked), found.interrupted(asked))


def _answers_still(reference: Referral, config: Config, stamp: Stamp) -> bool:
    """Whether the finished run that answered a job before does so still, though what it started from was removed since.

    What was in that can be asked no more; the same settings and the same data must do.
    """
    named = (config.checkpoint, config.init_from)
    if not any(isinstance(place, Path) and not place.exists() for place in named) or read_result(reference.run) is None:
        return False
    record, settings = recorded(reference.run), plain(config)
    saved = read_yaml(reference.run / "config.yaml") or {}
    stamps = {**reference.stamps, **(record.stamps if record else {})}
    return stamp(config.dataset) in stamps and all(saved.get(key) == settings[key] for key in COUNTED)


def _check_same(place: Path, config: Config) -> None:
    """Raises ConfigError where a job's folder has a run with other settings."""
    if not is_open(config) and read_yaml(place / "config.yaml") != plain(config):
        raise ConfigError(
            f"{DIR}={short(place.parent)}: its job {place.name} is a run with other settings; leave {DIR} out, or choose a new "
            "folder: jobs that are finished there are found from any other"
        )


def _remembered_stamp() -> Stamp:
    """`data_stamp`, each data set looked at once."""
    found: dict[str, str | None] = {}

    def stamp(dataset: DatasetComponent) -> str | None:
        key = json.dumps(plain(dataset), sort_keys=True)
        if key not in found:
            found[key] = data_stamp(dataset)
        return found[key]

    return stamp
