"""What a sweep ends in: one table over all its runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepTable(Callback):
    """After the last job of a sweep: the table of all of them, also as `sweep.json` and `sweep.png`."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Hydra's call when all jobs are done."""
        summarise(Path(config.hydra.sweep.dir).absolute())


def summarise(folder: Path) -> None:
    """One table over all supervised runs below a folder; says so where there is none."""
    from ssl_cli.report import plots, table
    from ssl_cli.runs import finished_runs, log, short, write

    finished = list(finished_runs(folder))
    varied = _what_varies(folder)
    supervised = [
        {**result, "arm": ", ".join((result["arm"], *varied.get(path.relative_to(folder).parts[0], ())))}
        for path, result in finished
        if result["stage"] in ("baseline", "finetune")
    ]
    if not supervised:
        log.info("Sweep finished: %s runs in %s", len(finished), short(folder))
        return
    made = table.rows(supervised)
    write(folder / "sweep.json", json.dumps(made, indent=1) + "\n")
    several = len({row["labels"] for row in made}) > 1
    (plots.save_label_curves if several else plots.save_arms)(made, folder / "sweep.png")
    table.show(made, f"{supervised[0]['dataset']}, all runs of the sweep")
    log.info("Table and picture: %s", short(folder))


def _what_varies(folder: Path) -> dict[str, list[str]]:
    """By job, the settings in which the sweep's jobs differ, but for seed and number of labels, which have columns."""
    import yaml

    jobs = {path.parent.name: yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*/config.yaml"))}
    flat = {job: dict(_flattened(settings)) for job, settings in jobs.items()}
    keys = list(dict.fromkeys(key for settings in flat.values() for key in settings))
    differing = [key for key in keys if len({str(settings.get(key)) for settings in flat.values()}) > 1]
    named = [key.removesuffix("name") for key in differing if key.endswith(".name") and key.count(".") == 1]
    shown = [
        key
        for key in differing
        if key not in ("seed", "budget.labels", "stage.name")
        and (key.endswith(".name") or not any(key.startswith(group) for group in named))
    ]
    return {
        job: [f"{key.removesuffix('.name').removesuffix('.kind')}={settings.get(key)}" for key in shown]
        for job, settings in flat.items()
    }


def _flattened(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
