"""What every chart is made of: a figure, names that fit into it, and its file."""

import io
import textwrap
from pathlib import Path
from typing import Any

from ssl_cli.runs.files import write

LONGEST = 24  # letters of a name; more is cut
ROW = 36  # letters on a line of the name of an arm, which has several
ROWS = 4  # lines of it; more is cut


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
