"""The folder of one run: what it was asked, how it went, and all that is needed to go on with it.

config.yaml        the settings, resolved
run.json           its id, the command, when it began
machine.json       device and precision it computes with, decided at its beginning; compile.json: and torch.compile
metrics.jsonl      a line each log step; nothing in it depends on the clock
checkpoint.pt      everything a resume needs
progress.json      seconds and inputs so far, saved with the checkpoint; how many steps there are to be
data.json          how many inputs there are, and a hash of them, so that a resumed run notices others
labels.csv         which items' labels were seen; classes.csv: which class stands in for an item's label in pre-training
skipped.csv        files that were left out, and why; split.csv: which are for the test where the program chose
*.safetensors      the trained weights
result.json        the numbers; it is there when the run is finished. failed.json: why it could not be, until it goes on
*.png, run.log     pictures, and the log

While a process works in the folder, `.ssl_cli.lock` says which one; `checkpoint.previous.pt` is the checkpoint before the last,
there until the training ends.
"""

import contextlib
import io
import json
import logging
import math
import secrets
import shutil
import sys
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import yaml

from ssl_cli import __version__
from ssl_cli.config.build import plain
from ssl_cli.config.overrides import key_of
from ssl_cli.errors import ConfigError, TrainingError
from ssl_cli.runs import checkpoint, claim
from ssl_cli.runs.files import named, others, remove_partials, sha256, short, write
from ssl_cli.runs.metrics import Metrics
from ssl_cli.runs.own import damaged, own_object
from ssl_cli.runs.result import FORMAT, Result, read_result
from ssl_cli.runs.typed import command_line

log = logging.getLogger("ssl_cli")

MACHINE = "machine.json"
PROGRESS = ("seconds", "training_seconds", "inputs", "from_step", "from_seconds", "steps")


class Run:
    """One run's folder. Opening it again with the same settings goes on where it was."""

    def __init__(self, folder: Path, settings: Any, parent: "Run | None" = None, command: Sequence[str] | None = None):
        """Create the folder, or open it again.

        Args:
            folder: a new one, one that holds at most hidden files, or that of a run with these settings.
            settings: of the run, a dataclass.
            parent: the run inside which this one lies, if any.
            command: the words that asked for it; None for those of the parent, or of this process.

        Raises:
            ConfigError: it holds a run with other settings, or files that are not a run's.
        """
        self.folder, self.is_inside = folder, parent is not None
        self.asked: Sequence[str] = ()  # what it was asked for while settings were left to the data (see runs.identity)
        saved = plain(settings)
        self._command = list(command) if command is not None else parent._command if parent else sys.argv[1:]
        self.stage: str = settings.stage.name
        self._about: dict[str, Any] = {
            "ends_in": settings.stage.ends_in,
            "stage": self.stage,
            "arm": settings.stage.arm(settings),
            "seed": settings.seed,
            "dataset": settings.dataset.name,
            "backbone": settings.backbone.name,
        }
        schedule = getattr(settings, "schedule", None)
        self._steps = [
            f"schedule.{phase}.{key}={getattr(getattr(schedule, phase), key)}"
            for phase in ("pretrain", "supervised")
            if schedule is not None and phase in settings.stage.phases and getattr(schedule, phase).max_steps
            for key in ("epochs", "max_steps")
        ]
        text = yaml.safe_dump(saved, sort_keys=False, allow_unicode=True)
        config = folder / "config.yaml"
        self.is_new = not config.exists()
        self._found: set[Path] = set()
        if self.is_new:
            strangers = [] if parent else [name for name in others(folder) if name != "run.json"]
            if strangers:
                shown = ", ".join(strangers[:3]) + (", …" if len(strangers) > 3 else "")
                raise ConfigError(
                    f"hydra.run.dir={folder}: holds files that are not a run's ({shown}); choose a new or an empty folder"
                )
            folder.mkdir(parents=True, exist_ok=True)
            self._found = set(folder.iterdir())
            born = {
                "run_id": secrets.token_hex(6),
                "command": self._command,
                "began": _now(),
                "folder": str(Path.cwd()),
                "ssl_cli": __version__,
            }
            try:
                write(folder / "run.json", json.dumps(born, indent=1))
                write(config, text)
            except OSError:
                self.discard()
                raise
        elif config.is_dir() or config.read_bytes() != text.encode():
            raise ConfigError(f"hydra.run.dir={folder}: already holds a run with other settings; choose a new folder")
        known = own_object(folder / "run.json", {"run_id": str, "command": list})
        if known is None:
            raise damaged(folder / "run.json", "it is missing")
        self.id: str = known["run_id"]
        self._typed = [word for word in cast(list[Any], known["command"]) if isinstance(word, str)]
        self._seconds_before = self.progress().get("seconds", 0.0)
        self._opened = time.perf_counter()

    def child(self, name: str, settings: Any) -> "Run":
        """A run inside this one, computing as this one does.

        Raises:
            ConfigError: its folder is a link.
        """
        folder = self.folder
        for part in Path(name).parts:
            folder = folder / part
            if folder.is_symlink():
                raise ConfigError(f"{folder}: is a link to {folder.readlink()}; a run writes only to files of its own")
        run = Run(folder, settings, self)
        if (self.folder / MACHINE).exists() and not (run.folder / MACHINE).exists():
            write(run.folder / MACHINE, (self.folder / MACHINE).read_text())
        return run

    @contextlib.contextmanager
    def claimed(self) -> Generator[None]:
        """Work in the folder, which no other process may meanwhile.

        Raises:
            ConfigError: another one does.
        """
        with claim.claimed(self.folder):
            remove_partials(self.folder)
            yield

    def discard(self) -> None:
        """Remove a run that this process has begun and that has no checkpoint yet; what was there before stays."""
        if not self.is_new or any(named(self.folder, "checkpoint.pt")):
            return
        for path in set(self.folder.iterdir()) - self._found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        if not self._found:
            self.folder.rmdir()

    @property
    def result(self) -> dict[str, Any] | None:
        """The numbers, if the run is finished."""
        return read_result(self.folder)

    def command(self, *words: str) -> str:
        """A command line with the settings that were typed for this run, but for its stage, its place and what `words` set.

        Args:
            words: a stage, options and overrides that come first; `KEY=` alone leaves a setting out.
        """
        typed = self._typed
        minutes = [word for word in typed if key_of(word) == "schedule.minutes"]
        if minutes and not any(key_of(word) in ("schedule", "schedule.minutes") for word in words):
            # another measurement would be another training
            typed = [word for word in typed if word not in minutes] + self._steps
        return command_line(typed, words, without="stage|hydra")

    @property
    def seconds(self) -> float:
        """Wall-clock seconds over all sessions, up to what was saved of earlier ones."""
        return self._seconds_before + time.perf_counter() - self._opened

    def leave_out(self, seconds: float) -> None:
        """Do not count seconds in which the run only waited for another one."""
        self._opened += seconds

    # While training

    @contextlib.contextmanager
    def metrics(self, keep: int) -> Generator["Metrics"]:
        """The metrics file, cut back to the `keep` bytes that the checkpoint knows of."""
        with Metrics(self.folder / "metrics.jsonl", keep) as metrics:
            yield metrics

    def training_begins(self, step: int, steps: int) -> None:
        """Note from which step to which a training goes, for those who look on."""
        self._note(from_step=step, from_seconds=self.seconds, steps=steps)

    def save_checkpoint(self, state: dict[str, Any], inputs: int, training_seconds: float) -> None:
        """Add a checkpoint, keeping the one before it.

        The clock's numbers go to a file of their own, so that the checkpoint's bytes depend on none.
        """
        import torch

        claim.check_held(self.folder)
        buffer = io.BytesIO()
        torch.save(_rebuilt(state), buffer)
        self._note(training_seconds=training_seconds, inputs=inputs)
        checkpoint.save(self.folder, buffer.getvalue())

    def checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint's state, on the CPU; the one before it where the last one is damaged, and a warning says so.

        Raises:
            ConfigError: no checkpoint is whole.
        """
        import torch

        saved = checkpoint.read(self.folder)
        return None if saved is None else torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True)

    def training_ended(self) -> None:
        """The last checkpoint is the one that counts from now on."""
        checkpoint.drop_previous(self.folder)

    def progress(self) -> dict[str, float]:
        """The clock's numbers of the last checkpoint, and how far the training is to go."""
        return own_object(self.folder / "progress.json", if_there=dict.fromkeys(PROGRESS, (int, float))) or {}

    def _note(self, **numbers: float) -> None:
        noted = {**self.progress(), "seconds": self.seconds, **numbers}
        write(self.folder / "progress.json", json.dumps(noted))

    # Results

    def save_weights(self, name: str, module: Any) -> None:
        """`NAME.safetensors`, readable without this program."""
        from safetensors.torch import save

        claim.check_held(self.folder)
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in module.state_dict().items()}
        write(self.folder / f"{name}.safetensors", save(tensors))

    def described(self, result: Result) -> dict[str, Any]:
        """The numbers of a result, and what the settings say of the run: `stage`, `arm`, `seed`, `dataset`, `backbone`."""
        numbers = asdict(result)
        given = {key: numbers.pop(key) for key in ("dataset", "backbone")}
        return {"format": FORMAT, "run_id": self.id, **self._about, **{k: v for k, v in given.items() if v}, **numbers}

    def finish(self, result: Result) -> dict[str, Any]:
        """Write the numbers, and by which bytes the weights can be told; the run is finished.

        Raises:
            TrainingError: a number is not finite.
        """
        claim.check_held(self.folder)
        numbers = self.described(result)
        for key, value in numbers.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise TrainingError(
                    f"{short(self.folder)}: {key} is {value}, so the run means nothing and is not finished"
                )
        weights = {path.name: sha256(path) for path in sorted(self.folder.glob("*.safetensors"))}
        written = {**numbers, "weights": weights, "seconds": round(self.seconds, 2), "finished": _now()}
        write(self.folder / "result.json", json.dumps(written, indent=1, ensure_ascii=False) + "\n")
        return written


def _rebuilt(value: Any) -> Any:
    """The same value in fresh containers, equal strings being one object: pickle writes down which objects are shared,
    and what was loaded from a checkpoint shares others than what was never saved.
    """
    if isinstance(value, dict):
        return {_rebuilt(key): _rebuilt(item) for key, item in cast(dict[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        items = map(_rebuilt, cast(Sequence[Any], value))
        return list(items) if isinstance(value, list) else tuple(items)
    return sys.intern(value) if isinstance(value, str) else value


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
