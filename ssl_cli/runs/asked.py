"""What a run is asked for: all of its settings that shape its result, told before anything is read or trained.

A sweep finds by it the finished runs that answer its jobs. What is only shown, where things lie, what they are called and how the
machine is used do not count; files and finished runs that settings name count by what is in them, data sets by their content.
"""

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from ssl_cli.config.automatic import OPEN, is_open, open_groups, typed_keys
from ssl_cli.config.build import plain
from ssl_cli.config.consistency import PHASES
from ssl_cli.config.schema import Augment, Budget, Component, Config, DatasetComponent, Head, Schedule, Stage
from ssl_cli.config.trust import is_own
from ssl_cli.runs.files import sha256
from ssl_cli.runs.identity import identity
from ssl_cli.runs.reading import DamagedError, read_json

DISPLAY = ("log_every", "evaluate_every")  # of a schedule: what is only shown, not learnt from
CHOICES = (Augment, Head, Schedule)  # whose name is that of a choice, and says nothing more
COUNTED = (
    "seed",
    "init_from",
    "checkpoint",
    "stage",
    "dataset",
    "budget",
    "augment",
    "backbone",
    "head",
    "method",
    "schedule",
)


@dataclass(frozen=True)
class Asked:
    """What a run is asked for, but for what its data are and how precisely it is computed.

    shapes: plain values; datasets: those whose content counts, in the order in which `shapes` names them.
    """

    shapes: dict[str, Any]
    datasets: tuple[DatasetComponent, ...]

    def identity(self, contents: Sequence[str], precision: str) -> str:
        """The hash by which a sweep finds the run, given what is in the data sets."""
        return identity({"asked": self.shapes, "data": list(contents), "precision": precision})


def asked_for(config: Config, words: Iterable[str] = ()) -> Asked:
    """What settings ask for.

    Args:
        config: the settings. Where something in them is left for the data to decide, that it is so counts.
        words: of the command line, which keep what they set from being decided; they count only in that case.
    """
    counting = _Counting([])
    shapes: dict[str, Any] = {}
    stage = config.stage
    for key in COUNTED:
        if not stage.takes or key in (*stage.takes, "stage"):
            shapes[key] = counting.counted(getattr(config, key))
    if not stage.takes:
        _leave_out(shapes, config)
    if is_open(config):
        shapes["chosen by the data"] = [
            open_groups(config),
            config.schedule.minutes,
            sorted(key for key in typed_keys(words) if key.partition(".")[0] in OPEN),
        ]
    return Asked(shapes, tuple(counting.datasets))


def _leave_out(shapes: dict[str, Any], config: Config) -> None:
    """Take out settings that the stage does not look at."""
    stage, still_open = config.stage, is_open(config)
    own = is_own(type(stage).__module__)
    phases = stage.phases if own and not still_open else PHASES
    shapes["schedule"] = {phase: counted_schedule(config, phase) for phase in phases}
    shapes["budget"] = counted_budget(config.budget)
    if not stage.sees_labels and config.budget.pretrain_on == "all":  # no label of the budget is looked at
        del shapes["budget"]
    if stage.ends_in == "pre-training":
        shapes["head"] = shapes["head"]["projection"]
        shapes["augment"] = {key: shapes["augment"][key] for key in ("scale", "pretrain")}
    builds_method = any(kind == "method" for kind, _, _ in stage.networks(config))
    if own and not still_open and "pretrain" not in stage.phases and config.head.keep == 0 and not builds_method:
        del shapes["method"]


def counted_budget(budget: Budget) -> dict[str, Any]:
    """A budget; a list of inputs counts by its bytes, wherever it lies."""
    file = {} if budget.file is None else {"file": sha256(budget.file)}
    return {key: value for key, value in plain(budget).items() if key != "file"} | file


def counted_schedule(config: Config, phase: str) -> dict[str, Any]:
    """A part of the schedule, but for what is only shown."""
    settings: dict[str, Any] = plain(getattr(config.schedule, phase))
    shown = DISPLAY if settings.get("select", "last") == "last" else ("log_every",)
    return {key: value for key, value in settings.items() if key not in shown}


@dataclass(frozen=True)
class _Counting:
    """Settings become plain values; the data sets among them are put aside."""

    datasets: list[DatasetComponent]

    def counted(self, value: Any) -> Any:
        """Without names of choices, with what is in files in place of where they lie."""
        if isinstance(value, DatasetComponent):
            self.datasets.append(value)
            return f"data set {len(self.datasets)}"
        if isinstance(value, Component):
            code = {} if is_own(value.path) else {"code": code_of(value.path)}
            return {"_target_": value.path, **code, **self.counted(value.arguments)}
        if is_dataclass(value) and not isinstance(value, type):
            kept = [field.name for field in fields(value) if field.name != "name" or not isinstance(value, CHOICES)]
            found = {name: self.counted(getattr(value, name)) for name in kept}
            return {**found, **_about_stage(value)} if isinstance(value, Stage) else found
        if isinstance(value, dict):
            return {key: self.counted(item) for key, item in cast(dict[str, Any], value).items()}
        if isinstance(value, (list, tuple)):
            return [self.counted(item) for item in cast(Sequence[Any], value)]
        return content_at(value) if isinstance(value, Path) else value


def _about_stage(stage: Stage) -> dict[str, Any]:
    """Which class it is, and the code of one that is somebody's own."""
    kind = type(stage)
    paths = [path for path in (kind.__module__, stage.function) if not is_own(path)]
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", "code": [code_of(path) for path in paths]}


def content_at(place: Path) -> str:
    """What a setting names: the identity of a finished run, else a hash of what is in a file or a folder."""
    if place.is_file():
        return sha256(place)
    try:
        found: Mapping[str, Any] = read_json(place / "result.json") or {}
    except DamagedError:
        found = {}
    if isinstance(found.get("identity"), str):
        return found["identity"]
    if not place.is_dir():
        return str(place)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    hashes = [(path.relative_to(place).as_posix(), sha256(path)) for path in files]
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


@cache
def code_of(path: str) -> str:
    """A hash of the Python files of the package that a component of somebody's own comes from: its code shapes the result."""
    spec = importlib.util.find_spec(path.partition(".")[0])
    if spec is None or spec.origin is None:
        return ""
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
    return hashlib.sha256(json.dumps([sha256(file) for file in files]).encode()).hexdigest()
