"""The settings of `stage=report`."""

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ssl_cli.config.schema import Config, Stage
from ssl_cli.config.typecheck import shown


@dataclass(frozen=True)
class ReportStage(Stage):
    """Finished runs on one page.

    runs: folders of runs or sweeps, or with runs below them, or patterns of such.
    """

    name: Literal["report"]
    runs: str | list[str] | None

    function: ClassVar[str] = "ssl_cli.stages.report.report"
    reads_runs_alone: ClassVar[bool] = True

    @property
    def takes(self) -> tuple[str, ...]:
        """Where its own run is put."""
        return ("outputs",)

    @property
    def instead(self) -> str:
        """All else is that of the runs."""
        return "only looks at the finished runs in stage.runs"

    @property
    def sees_labels(self) -> bool:
        """It reads no data."""
        return False

    def problems(self, config: Config) -> Iterator[str]:
        """No folder, or one that is not there."""
        if not self.patterns:
            yield (
                f"stage.runs={shown(self.runs)}: must be the folder of a sweep or a run, or several, such as "
                "stage.runs=[outputs/sweep,outputs/compare/*]"
            )
        for pattern in self.patterns:
            if not any(path.is_dir() for path in matching(pattern)):
                what = "no folder is called so" if glob.has_magic(pattern) else "there is no such folder"
                yield f"stage.runs={pattern}: {what}; must be that of a run or a sweep, or one with runs below it"

    @property
    def patterns(self) -> tuple[str, ...]:
        """As they were typed, one or several."""
        if self.runs is None or self.runs == "":
            return ()
        return (self.runs,) if isinstance(self.runs, str) else tuple(self.runs)

    def folders(self) -> list[Path]:
        """The folders that are meant, in their order, each once."""
        return list(dict.fromkeys(path for one in self.patterns for path in matching(one) if path.is_dir()))


def matching(pattern: str) -> list[Path]:
    """What a folder or a pattern names, in order; a folder whose name looks like a pattern is that folder."""
    path = Path(pattern).expanduser().absolute()
    if not pattern.strip() or "\0" in pattern:
        return []
    found = [path] if path.exists() else map(Path, sorted(glob.glob(str(path), recursive=True)))  # noqa: PTH207
    return [one.resolve() if ".." in one.parts else one for one in found]
