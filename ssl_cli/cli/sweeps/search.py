"""A search for good settings by a sweeper such as Optuna's: on labels that no job trains on, and never on test data."""

import contextlib
import json
import logging
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from ssl_cli.config.build import plain
from ssl_cli.config.plugins import is_search
from ssl_cli.config.schema import Config
from ssl_cli.config.typecheck import shown
from ssl_cli.config.words import with_params
from ssl_cli.errors import ConfigError
from ssl_cli.runs.sweep_jobs import RECORD

log = logging.getLogger("ssl_cli")

FILE = "search.json"
# What makes an accuracy another measurement, and not another network.
SAME = ("seed", "dataset", "budget", "stage.folds")


def check_search(configs: Sequence[Config], sweeper: Any) -> None:
    """Raises ConfigError where a search would choose by test data, by labels it trains on, or by what cannot be compared."""
    problems = [] if "maximize" in str(sweeper.direction) else [
        f"hydra.sweeper.direction={shown(sweeper.direction)}: must be maximize; a search is for the best accuracy"
    ]  # fmt: skip
    problems += [
        f"hydra.sweeper.{key}={value}: must be 1 or more"
        for key in ("n_trials", "n_jobs")
        if not (isinstance(value := sweeper.get(key), int) and value >= 1)
    ]
    problems += [problem for config in configs for problem in _problems(config)]
    for key in SAME:
        values = {json.dumps(OmegaConf.select(OmegaConf.create(plain(config)), key), default=str) for config in configs}
        if len(values) > 1:
            problems.append(
                f"{key}: must be the same in all jobs of a search, whose accuracies could not be compared otherwise"
            )
    if problems:
        raise ConfigError(*problems)


def _problems(config: Config) -> Iterator[str]:
    if config.stage.ends_in != "classifier" or not set(config.stage.phases) - {"pretrain"}:
        yield (
            f"stage={config.stage.name}: trains no single network on labels whose accuracy a search could go by; take "
            "stage=finetune or stage=baseline"
        )
    elif not (config.budget.validation or getattr(config.stage, "folds", 0)):
        yield (
            "hydra/sweeper=optuna: searches by labels that a job does not train on, and never by test data; add "
            "budget.validation=0.2, which sets a part of the budget apart, or stage.folds=5, which tests each label once"
        )
    elif "supervised" in config.stage.phases and config.schedule.supervised.select == "best_test":
        yield "schedule.supervised.select=best_test: chooses a step by test data, by which a search must not be led; use last"


def objective(result: dict[str, Any] | None) -> float | None:
    """What a search goes by: a finished run's accuracy in folds, or else on its validation part; None where it has neither."""
    result = result or {}
    return result["folds"]["accuracy"] if result.get("folds") else result.get("validation_accuracy")


@contextlib.contextmanager
def nothing_found() -> Generator[None]:
    """A search of which no job is finished has no best one, at which Optuna stops; why is said of each job."""
    try:
        yield
    except ValueError as error:
        if "No trials are completed" not in str(error):
            raise
        log.warning("The search found nothing: no job is finished.")


class SearchSummary(Callback):
    """After the last job of a search: the best settings, and what it took to find them; also as `search.json`."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Hydra's call before the first job: a search is recorded as other sweeps are, so that it can be gone on with."""
        if is_search(config.hydra.sweeper):
            folder = Path(config.hydra.sweep.dir)
            folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(config, folder / RECORD)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Hydra's call when all jobs are done."""
        if is_search(config.hydra.sweeper):
            summarise(Path(config.hydra.sweep.dir).absolute(), _words(config.hydra))


def _words(hydra: Any) -> list[str]:
    return with_params(hydra.sweeper.get("params") or {}, list(hydra.overrides.task))


def summarise(folder: Path, words: Sequence[str]) -> None:
    """Say and save the best of the jobs in a sweep's folder.

    Args:
        folder: the sweep's.
        words: that it was typed with, and those that its settings bring.
    """
    from ssl_cli.runs.files import short, write
    from ssl_cli.runs.result import read_result
    from ssl_cli.runs.sweep_jobs import job_folders

    searched = [
        one.get_key_element()
        for one in OverridesParser.create().parse_overrides(list(words))
        if one.is_sweep_override()
    ]
    jobs: list[dict[str, Any]] = []
    runs: dict[str, Path] = {}
    seconds: dict[Path, float] = {}  # of one run, that answers several jobs, once
    for name, run in job_folders(folder).items():
        result = read_result(run) or {}
        accuracy = objective(result)
        if accuracy is not None:
            settings = OmegaConf.load(run / "config.yaml")
            tried = {key: _value(settings, key.lstrip("+~")) for key in searched}
            jobs.append({"job": name, "settings": tried, "accuracy": accuracy, **_numbers(result)})
            runs[name], seconds[run] = run, result["seconds"]
    if not jobs:
        return
    best = max(jobs, key=lambda job: job["accuracy"])
    cost = {
        "labels": best["labels"],
        "labels_to_choose_by": best["labels_to_choose_by"],
        "jobs": len(jobs),
        "seconds": round(sum(seconds.values()), 1),
    }
    write(folder / FILE, json.dumps({"best": best, "cost": cost, "jobs": jobs}, indent=1, default=str) + "\n")
    log.info(
        "Best of %s by %s: %.1f %% with %s (%s)",
        len(jobs), best["measure"], 100 * best["accuracy"],
        " ".join(f"{key}={shown(value)}" for key, value in best["settings"].items()), short(runs[best["job"]]),
    )  # fmt: skip
    log.info(
        "The search took %s labels, %s of which chose the settings, and %.0f s of work. The accuracy it chose by is the "
        "highest of %s, and so too high; %s",
        f"{cost['labels']:,}", f"{cost['labels_to_choose_by']:,}", cost["seconds"], len(jobs), _tested(best),
    )  # fmt: skip


def _numbers(result: dict[str, Any]) -> dict[str, Any]:
    crossed = bool(result.get("folds"))
    trained_on = result.get("labels_trained_on") or result["labels"]
    return {
        "measure": "cross-validated accuracy" if crossed else "validation accuracy",
        "test_accuracy": result.get("test_accuracy"),
        "labels": result["labels"],
        "labels_to_choose_by": result["labels"] if crossed else result["labels"] - trained_on,
        "seconds": result["seconds"],
    }


def _tested(best: dict[str, Any]) -> str:
    if best["test_accuracy"] is None:
        return "there is no test data to say by how much."
    return f"on test data, by which nothing was chosen, those settings have {100 * best['test_accuracy']:.1f} %."


def _value(settings: Any, key: str) -> Any:
    """What a job has for a key: the name of a choice, or a value."""
    found = OmegaConf.select(settings, key.partition("@")[0].replace("/", "."))
    return found.get("name") if isinstance(found, DictConfig) else found
