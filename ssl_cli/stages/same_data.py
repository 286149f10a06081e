"""Has the data of a run changed since it began? To go on with other data would mix two trainings without a word."""

import json
from typing import Any

from ssl_cli.data.types import Dataset, Split, fingerprint
from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import named, short, write
from ssl_cli.runs.own import own_object
from ssl_cli.runs.run import Run

NAME = "data.json"
PARTS = {"train": "training", "test": "test"}


def check_same_data(run: Run, dataset: Dataset) -> None:
    """Note in `data.json` what a run begins with; when it goes on, the data must be the same.

    Compared are the number, the shape and the labels of inputs, and the content of up to 4,096 of each part.

    Raises:
        ConfigError: they are others, and something was trained on the former ones.
    """
    now = {part: _described(getattr(dataset, part)) for part in PARTS}
    before = own_object(run.folder / NAME, dict.fromkeys(PARTS, dict))
    if before == now:
        return
    trained = any(named(run.folder, "checkpoint.pt", "result.json"))
    if before is not None and trained:
        raise ConfigError(
            *(
                f"{short(run.folder)}: the {title} data of dataset={dataset.name} are not those that this run began with "
                f"({before[part].get('inputs')} inputs then, {now[part]['inputs']} now{_alike(before[part], now[part])}); bring "
                "those back to go on with it, or begin a new run in another folder"
                for part, title in PARTS.items()
                if before[part] != now[part]
            )
        )
    write(run.folder / NAME, json.dumps(now, indent=1) + "\n")


def _described(split: Split) -> dict[str, Any]:
    return {"inputs": len(split), "fingerprint": fingerprint(split.inputs, split.labels)}


def _alike(before: dict[str, Any], now: dict[str, Any]) -> str:
    return ", with other content or labels" if before.get("inputs") == now["inputs"] else ""
