"""`report.html`: one self-contained page, with what was found in its first lines."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ssl_cli.runs.files import write
from ssl_cli.runs.reading import is_file

PNG = b"\x89PNG\r\n\x1a\n"
LARGEST = 2**24  # bytes of a picture


@dataclass(frozen=True)
class Verdict:
    """What was found in three sentences, and commands that go on from there.

    answer, sureness, advice: the sentences; empty where there is none.
    steps: what for, and the command.
    place: the folder in which they are typed; empty: where the page was made.
    """

    answer: str
    sureness: str = ""
    advice: str = ""
    steps: Sequence[tuple[str, str]] = ()
    place: str = ""


@dataclass(frozen=True)
class Table:
    """A table: its first column is text, and what follows it are notes."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A picture, left out where there is no such file; a chart keeps the size in which its letters can be read."""

    title: str
    path: Path
    is_chart: bool = False

    @property
    def source(self) -> str:
        """The picture as an address that leads nowhere else; empty where it is not there."""
        if not is_file(self.path) or self.path.stat().st_size > LARGEST:
            return ""
        content = self.path.read_bytes()
        return "data:image/png;base64," + base64.b64encode(content).decode() if content.startswith(PNG) else ""


@dataclass(frozen=True)
class Part:
    """What belongs together: of one data set and test, or of a comparison's trainings.

    title: may be empty for the only part.
    warnings: what a reader must know.
    """

    title: str = ""
    verdict: Verdict | None = None
    warnings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Page:
    """A page: the first part's verdict comes first.

    about: of what it is, below the first verdict.
    settings: as they are saved, at the end.
    """

    title: str
    parts: Sequence[Part]
    about: Sequence[str] = field(default=())
    settings: str = ""


def write_page(page: Page, path: Path) -> None:
    """Write the page. Names of people's folders, classes and settings are text on it, never elements or code."""
    from jinja2 import Environment

    template = (Path(__file__).parent / "page.html.jinja").read_text(encoding="utf-8")
    write(
        path, Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(template).render(page=page)
    )
