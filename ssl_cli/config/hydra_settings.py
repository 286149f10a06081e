"""Hydra's own settings: which of them cannot be kept to here, or would be passed over without a word."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from ssl_cli.config.typecheck import shown

ONE_RUN, SWEEP = ("hydra.run",), ("hydra.sweep", "hydra.sweeper", "hydra.launcher")
WRITTEN_BY_HYDRA = ("hydra.runtime", "hydra.overrides", "hydra.job.num", "hydra.job.id", "hydra.job.override_dirname")


def hydra_problems(hydra: DictConfig, typed: Iterable[Override], multirun: bool) -> Iterator[str]:
    """A sentence for each that cannot be obeyed.

    Args:
        hydra: as composed for one job.
        typed: what was typed.
        multirun: whether the command line is a sweep.
    """
    mode = None if hydra.mode is None else hydra.mode.name
    if mode == "MULTIRUN" and not multirun:
        yield "hydra.mode=MULTIRUN: is a sweep; add -m instead"
    if mode == "RUN" and multirun:
        yield "hydra.mode=RUN: is no sweep, and -m is one; leave one of the two out"
    if hydra.job.chdir:
        yield f"hydra.job.chdir={shown(hydra.job.chdir)}: must be false; paths count from the folder where the command is typed"
    if hydra.output_subdir is not None:
        yield f"hydra.output_subdir={hydra.output_subdir}: must be null; a run's folder has a config.yaml of its own"
    for group in ("job_logging", "hydra_logging"):
        handlers = cast(dict[str, dict[str, Any] | None], hydra.get(group, {}).get("handlers") or {})
        if any("filename" in (handler or {}) for handler in handlers.values()):
            yield f"hydra/{group}: must write no file, since a run's folder has a run.log of its own; leave it out"
    for override in typed:
        key = override.key_or_group.replace("/", ".")
        if multirun and _is_one_of(key, ONE_RUN):
            yield f"{override.input_line}: is for a single run; a sweep takes hydra.sweep.dir and hydra.sweep.subdir"
        if not multirun and mode != "MULTIRUN" and _is_one_of(key, SWEEP):
            yield f"{override.input_line}: is for a sweep; add -m, or leave it out"
        if _is_one_of(key, WRITTEN_BY_HYDRA):
            yield f"{override.input_line}: is written by Hydra, whatever is typed; leave it out"


def _is_one_of(key: str, names: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)
