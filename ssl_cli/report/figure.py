"""What every chart is made of: a figure, names that fit into it, and its file."""

import io
import logging
import textwrap
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from ssl_cli.errors import ConfigError, TrainingError
from ssl_cli.runs.files import write

log = logging.getLogger("ssl_cli")

_Arguments = ParamSpec("_Arguments")
LONGEST = 24  # letters of a name; more is cut
ROW = 36  # letters on a line of the name of an arm, which has several
ROWS = 4  # lines of it; more is cut


def optional(draw: Callable[_Arguments, None]) -> Callable[_Arguments, None]:
    """A picture without which a run is as good: where it cannot be drawn, a warning says so, and hours of training are not lost.

    A disk that is full is not the picture's fault, and ends the run as elsewhere.
    """

    @wraps(draw)
    def drawn(*arguments: _Arguments.args, **named: _Arguments.kwargs) -> None:
        try:
            draw(*arguments, **named)
        except (OSError, MemoryError, ConfigError, TrainingError):
            raise
        except Exception as error:
            paths = [value for value in (*arguments, *named.values()) if isinstance(value, Path)]
            called = draw.__name__.strip("_").removeprefix("save_").replace("_", " ")
            name = next((path.name for path in paths if path.suffix), called)
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            log.warning("%s could not be drawn (%s: %s); all else goes on.", name, type(error).__name__, said)

    return drawn


def figure_of(columns: int, rows: int, width: float, height: float):
    """A figure with as many charts, of a size in inches, and its axes by row and column."""
    from matplotlib.figure import Figure  # not pyplot: no windows, no state, half the import

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, bbox_inches="tight", pad_inches=0.08)
    write(path, buffer.getvalue())


def written(name: str) -> str:
    """A name of the user's on one line of a chart: not too long, and none of it a command to matplotlib."""
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())
    return (plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…").replace("$", r"\$")


def wrapped(name: str) -> str:
    """The name of an arm on lines that leave room for the chart, as long names of settings do not."""
    plain = "".join(letter if letter.isprintable() else " " for letter in name)
    lines = textwrap.wrap(plain, ROW, max_lines=ROWS, placeholder=" …") or [""]
    return "\n".join(lines).replace("$", r"\$")
