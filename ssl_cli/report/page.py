"""The HTML report of a comparison, one self-contained page."""

import base64
from pathlib import Path
from typing import Any

from ssl_cli.report import table
from ssl_cli.runs.files import write


def write_report(folder: Path, result: dict[str, Any], pretrainings: list[Path], shown: dict[str, str]) -> Path:
    """`report.html` in the run's folder: table, embedded pictures and settings."""
    from jinja2 import Environment

    page = Environment(autoescape=True).from_string((Path(__file__).parent / "page.html.jinja").read_text())
    pictures = [("Accuracy of each arm", folder / "arms.png")]
    for start in pretrainings:
        name = f"Pre-training, {start.parent.name}" if len(pretrainings) > 1 else "Pre-training"
        pictures += [(name, start / "curves.png")]
    pictures += [("Views: each input above its augmented views", pretrainings[0] / "views.png")]
    pictures += [("Lengths of the training texts", pretrainings[0] / "lengths.png")]
    pictures += [("Nearest training texts, by frozen features", pretrainings[0] / "nearest.png")]
    first = folder / f"seed{result['seed']}"
    pictures += [(f"On the test set: {title}", first / arm / "confusion.png") for title, arm in shown.items()]
    html = page.render(
        result=result,
        headings=table.headings(result["rows"]),
        rows=[table.cells(row, result["rows"]) for row in result["rows"]],
        collapsed=[p["seed"] for p in result["pretrainings"] if p["collapsed"]],
        pictures=[(title, _embedded(path)) for title, path in pictures if path.exists()],
        settings=(folder / "config.yaml").read_text(),
        folder=folder,
    )
    path = folder / "report.html"
    write(path, html)
    return path


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
