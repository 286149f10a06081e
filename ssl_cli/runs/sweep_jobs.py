"""The jobs of a sweep, those that have not begun too, by Hydra's record of it."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.config.words import with_params
from ssl_cli.runs import failure
from ssl_cli.runs.below import SeenRun, folders_below, is_run, seen
from ssl_cli.runs.reading import DamagedError, is_file, read_yaml
from ssl_cli.runs.referred import referral
from ssl_cli.runs.result import numbers_first

RECORD = "multirun.yaml"  # Hydra's
MOST = 10_000  # jobs that are counted


@dataclass(frozen=True)
class Job:
    """One job of a sweep: its folder, and its values of the settings that the sweep varies."""

    folder: Path
    words: tuple[str, ...]


@dataclass(frozen=True)
class OtherJob:
    """A job whose folder holds no run: one that another run answers, or that was refused.

    run: the other one; error: why it was refused, where there is none.
    """

    folder: Path
    run: SeenRun | None
    error: str = ""

    def is_shown_with(self, root: Path) -> bool:
        """Whether the run stands among those below a folder, of which somebody asks for all; not where he asks for the sweep."""
        return self.run is not None and self.run.folder.is_relative_to(root) and not is_sweep(root)


def is_sweep(folder: Path) -> bool:
    """Whether Hydra has recorded a sweep in a folder; the record may be damaged."""
    return is_file(folder / RECORD)


def can_go_on(folder: Path) -> bool:
    """Whether a folder has the record of a sweep in a form from which it can be carried out again."""
    try:
        return "hydra" in (read_yaml((folder / RECORD).resolve()) or {})
    except DamagedError:
        return False


def is_plain(hydra: Mapping[str, Any]) -> bool:
    """Whether Hydra's own sweeper numbers the jobs, so that it is known beforehand which there are.

    Args:
        hydra: Hydra's settings of the sweep, interpolations not carried out.
    """
    return hydra["sweep"]["subdir"] == "${hydra.job.num}" and "basic_sweeper" in hydra["sweeper"]["_target_"]


def jobs_of(folder: Path) -> list[Job]:
    """The jobs of a sweep in their order; none where the record does not say them, as with a sweeper that searches.

    Raises:
        DamagedError: the record cannot be read.
    """
    record = read_yaml(folder / RECORD) or {}
    try:
        hydra: dict[str, Any] = record["hydra"]
        words: list[str] = hydra["overrides"]["task"]
        if not is_plain(hydra):
            return []
        words = with_params(hydra["sweeper"].get("params") or {}, words)
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{RECORD} is not what Hydra writes") from error
    return [Job(folder / str(number), values) for number, values in enumerate(_varied(words))]


def job_folders(sweep: Path) -> dict[str, Path]:
    """By the names of the jobs in a sweep's folder, in the order of their numbers, where their runs are; some may lie elsewhere.

    A job that was refused, or has not begun, may have a folder without a run. What an earlier, larger sweep left in the folder is
    none of its jobs, where the record says which those are.
    """
    try:
        known = {job.folder.name for job in jobs_of(sweep)}
    except DamagedError:
        known = set[str]()
    places = sorted((path for path in sweep.glob("*/") if not path.is_symlink()), key=numbers_first)
    places = [place for place in places if not known or place.name in known]
    found = {place.name: referral(place) for place in places if not place.name.startswith(".")}
    return {name: sweep / name if reference is None else reference.run for name, reference in found.items()}


def answering(root: Path) -> list[Path]:
    """The folders of runs elsewhere that answer jobs of the sweeps below a folder, and itself."""
    found = (referral(place) for place in folders_below(root))
    return [one.run for one in found if one is not None and not one.run.is_relative_to(root)]


def other_jobs_below(root: Path) -> Iterator[OtherJob]:
    """The jobs of sweeps below a folder, and itself, that have no run in their own folder."""
    for place in folders_below(root):
        reference = referral(place)
        if reference is not None:
            yield OtherJob(place, seen(reference.run))
        elif is_file(place / failure.NAME) and not is_run(place):
            try:
                failed = failure.failure_of(place)
            except DamagedError as error:
                yield OtherJob(place, None, str(error))
            else:
                yield OtherJob(place, None, "" if failed is None else failed.error)


def answered_elsewhere(root: Path) -> dict[Path, SeenRun]:
    """By the folders of jobs below a folder, the runs that answer them and do not stand among those below it."""
    return {job.folder: job.run for job in other_jobs_below(root) if job.run and not job.is_shown_with(root)}


def _varied(words: list[str]) -> list[tuple[str, ...]]:
    """For each job the words that the sweep varies."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    choices: list[list[str]] = []
    jobs = 1
    try:
        for override in OverridesParser.create().parse_overrides(words):
            if override.is_sweep_override():
                values = list(itertools.islice(override.sweep_string_iterator(), MOST))
                choices.append([f"{override.get_key_element()}={value}" for value in values])
                jobs *= len(values)
    except (HydraException, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{RECORD} has an override that cannot be read") from error
    if jobs >= MOST:
        raise DamagedError(f"{RECORD} has {MOST:,} jobs or more")
    return list(itertools.product(*choices))
