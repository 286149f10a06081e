"""Test inputs of a folder that a run behind a classifier was trained on: files were added since, or removed."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from ssl_cli.data.types import Dataset
from ssl_cli.models.huggingface.reading import is_folder
from ssl_cli.runs.files import short
from ssl_cli.runs.own import own_settings
from ssl_cli.runs.result import read_result

BEHIND = ("init_from", "pretraining")  # where a result says which run its own began with


def seen_before(dataset: Dataset, starts_from: Iterable[Path | None]) -> list[str]:
    """A sentence for each run behind a classifier that was trained on some of its test inputs.

    Such a run chose the test inputs of a folder itself, from the files that were there then, and `split.csv` says which.

    Args:
        dataset: that the classifier is tested on.
        starts_from: the folders of the runs whose weights it begins with or learns from.
    """
    if dataset.files is None:
        return []
    tests, found = set(dataset.files.test), []
    for folder in dict.fromkeys(run for start in starts_from for run in _behind(start)):
        seen = tests & _trained_on(folder, dataset.files.root)
        if seen:
            found.append(
                f"{len(seen):,} of {len(tests):,} test inputs were training inputs of {short(folder)}, which was made when "
                "the folder held other files; train it again for an honest test"
            )
    return found


def _behind(start: Path | None) -> Iterator[Path]:
    """A run, and those that it began with."""
    if start is None or is_folder(start):
        return
    yield start
    result = read_result(start) or {}
    for key in BEHIND:
        earlier = result.get(key)
        if isinstance(earlier, dict) and earlier.get("folder"):
            yield from _behind(Path(earlier["folder"]))


def _trained_on(run: Path, root: str) -> set[str]:
    """The files below `root` that a run trained on; none where its data came from elsewhere or had a test part of their own."""
    settings, split = run / "config.yaml", run / "split.csv"
    if not settings.exists() or not split.exists():
        return set()
    theirs = own_settings(f"the run in {run}", run).get("dataset") or {}
    if Path(str(theirs.get("root"))).resolve() != Path(root).resolve():
        return set()
    with split.open(encoding="utf-8", newline="") as file:
        return {row["path"] for row in csv.DictReader(file) if row["split"] == "train"}
