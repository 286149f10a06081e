"""The HTML report of a comparison, one self-contained page."""

import base64
from pathlib import Path
from typing import Any

from ssl_cli.report import table
from ssl_cli.runs.files import write
from ssl_cli.runs.result import read_result


def write_report(folder: Path, result: dict[str, Any], pretrainings: list[Path], shown: dict[str, str]) -> Path:
    """`report.html` in the run's folder: table, embedded pictures and settings."""
    from jinja2 import Environment

    page = Environment(autoescape=True).from_string((Path(__file__).parent / "page.html.jinja").read_text())
    pictures = [("Accuracy of each arm", folder / "arms.png")]
    for start in pretrainings:
        name = f"Pre-training, {start.parent.name}" if len(pretrainings) > 1 else "Pre-training"
        pictures += [(name, start / "curves.png")]
    pictures += [("Views: each input above its augmented views", pretrainings[0] / "views.png")]
    pictures += [("Features of test inputs, before and after pre-training", folder / "feature_map.png")]
    pictures += [("Lengths of the training texts", pretrainings[0] / "lengths.png")]
    pictures += [("Nearest training texts, by frozen features", pretrainings[0] / "nearest.png")]
    first = folder / f"seed{result['seed']}"
    pictures += [(f"On the test set: {title}", first / arm / "confusion.png") for title, arm in shown.items()]
    for title, arm in shown.items():
        wrong = f"Test inputs that are wrong: {title.removeprefix('confusion, ')}"
        pictures.append((wrong, first / arm / "mistakes.png"))
    for title, arm in reversed(shown.items()):  # by what pre-training learnt, where an arm has that
        if (suspects := first / arm / "suspect_labels.png").exists():
            pictures.append((f"Labels that look wrong: {title.removeprefix('confusion, ')}", suspects))
            break
    html = page.render(
        result=result,
        headings=table.headings(result["rows"]),
        rows=[table.cells(row, result["rows"]) for row in result["rows"]],
        collapsed=[p["seed"] for p in result["pretrainings"] if p["collapsed"]],
        pictures=[(title, _embedded(path)) for title, path in pictures if path.exists()],
        classes=_classes(first, shown),
        settings=(folder / "config.yaml").read_text(),
        folder=folder,
    )
    path = folder / "report.html"
    write(path, html)
    return path


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _classes(folder: Path, shown: dict[str, str]) -> dict[str, list[str]]:
    """By class, cells of a table: labels, test inputs, and the accuracy of each arm that is shown; the heading under no name."""
    found = {title.removeprefix("confusion, "): read_result(folder / arm) or {} for title, arm in shown.items()}
    arms = {title: result["per_class"] for title, result in found.items() if result.get("per_class")}
    if not arms:
        return {}
    table: dict[str, list[str]] = {"": ["labels", "test inputs", *arms]}
    for rows in zip(*arms.values(), strict=True):
        shares = ["–" if row["accuracy"] is None else f"{100 * row['accuracy']:.1f} %" for row in rows]
        table[rows[0]["class"]] = [f"{rows[0]['labels']:,}", f"{rows[0]['inputs']:,}", *shares]
    return table
