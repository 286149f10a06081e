"""What a sweep ends in: one table over all its runs."""

import json
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
    from ssl_cli.runs import finished_runs, log, write

    finished = [result for _, result in finished_runs(folder)]
    supervised = [result for result in finished if result["stage"] in ("baseline", "finetune")]
    if not supervised:
        log.info("Sweep finished: %s runs in %s", len(finished), folder)
        return
    made = table.rows(supervised)
    write(folder / "sweep.json", json.dumps(made, indent=1) + "\n")
    several = len({row["labels"] for row in made}) > 1
    (plots.save_label_curves if several else plots.save_arms)(made, folder / "sweep.png")
    table.show(made, f"{supervised[0]['dataset']}, all runs of the sweep")
    log.info("Table and picture: %s", folder)
