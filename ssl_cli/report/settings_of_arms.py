"""What tells arms apart that have the same name: the settings in which their runs differ."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_cli.config.overrides import key_of
from ssl_cli.report.found_runs import FinishedRun
from ssl_cli.runs.below import SeenRun
from ssl_cli.runs.varying import as_words, what_varies

# Where runs and data lie, how many seeds a run has, and whether it may be another sweep's make no other arm.
PLACES = ("outputs", "reuse", "dataset.root", "stage.seeds")
CHOSEN = ("schedule", "augment")  # groups that may be chosen for the data


def with_settings(arm: str, settings: Mapping[str, Any]) -> str:
    """The name of an arm, with settings as one would type them."""
    return ", ".join((arm, *as_words(settings)))


def settings_of_arms(
    runs: Sequence[tuple[FinishedRun, str]], ignored: Collection[str] | None = None
) -> dict[Path, dict[str, Any]]:
    """By the folder of each run, the settings that its arm is called by, beside its name.

    These are the settings in which the jobs differ. Where comparisons and single runs are among them, a comparison's
    settings are not those of its arms: then those in which runs of the same arm differ. A schedule and views that were chosen for
    the data of each job are none of them.

    Args:
        runs: each with the name of its arm.
        ignored: groups that do not count; None: those of which the same was typed for all, so that the data decided.
    """
    jobs = {run.job.folder: run.job for run, _ in runs}
    kinds = {(job.result or {}).get("ends_in") for job in jobs.values()}
    followed = ignored if ignored is not None else _followed({run.job.folder: (run.job, run.words) for run, _ in runs})
    if len(kinds) == 1:
        varied = _varied({folder: job.settings for folder, job in jobs.items()}, followed)
        return {run.folder: varied[run.job.folder] for run, _ in runs}
    found: dict[Path, dict[str, Any]] = {}
    for arm in dict.fromkeys(arm for _, arm in runs):
        found |= _varied({run.folder: run.seen.settings for run, name in runs if name == arm}, followed)
    return found


def _varied(settings: Mapping[Path, Mapping[str, Any]], followed: Collection[str]) -> dict[Path, dict[str, Any]]:
    return {
        folder: {
            key: value for key, value in own.items() if key.partition(".")[0] not in followed and key not in PLACES
        }
        for folder, own in what_varies(settings).items()
    }


def _followed(jobs: Mapping[Path, tuple[SeenRun, tuple[str, ...] | None]]) -> list[str]:
    """The groups of `CHOSEN` of which the same was typed for all jobs, so that where they differ the data decided."""
    if any(words is None for _, words in jobs.values()):
        return []
    typed = [words for _, words in jobs.values() if words is not None]
    return [
        group
        for group in CHOSEN
        if len({frozenset(word for word in words if _is_about(word, group, "experiment")) for words in typed}) == 1
    ]


def _is_about(word: str, *groups: str) -> bool:
    return key_of(word).partition(".")[0] in groups
