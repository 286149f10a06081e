"""A page on which a person labels inputs with the keyboard: one file, without network."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ssl_cli.runs.files import write

SIDE = 512  # pixels; larger images are made smaller
LOSSLESS_UP_TO = 128  # pixels a side, where JPEG would show and PNG is small


@dataclass(frozen=True)
class Entry:
    """An input to label.

    cells: its row of the table that the page makes, in which the second is empty.
    shown: the image or the text.
    is_listed: whether it has a row even without a label, since the row says something else of it.
    """

    cells: list[str]
    shown: Image.Image | str
    is_listed: bool = False


def write_label_page(
    path: Path, key: str, columns: Sequence[str], entries: Sequence[Entry], others: Sequence[Sequence[str]],
    classes: Sequence[str],
) -> None:  # fmt: skip
    """Write the page. Names and texts are data of it, never part of its code or its elements.

    Args:
        path: of the page.
        key: under which a browser keeps what was labelled.
        columns: of the table that the page makes; the second is the label.
        entries: what to label, in order.
        others: rows of the table that are there already.
        classes: names that are offered; others can be typed.
    """
    from jinja2 import Environment

    template = (Path(__file__).parent / "label.html.jinja").read_text(encoding="utf-8")
    data = {
        "key": key,
        "columns": list(columns),
        "classes": list(classes),
        "entries": [{"cells": entry.cells, "listed": entry.is_listed, **_shown(entry.shown)} for entry in entries],
        "others": [list(row) for row in others],
    }
    page = Environment(autoescape=True).from_string(template).render(data=data)  # tojson there escapes <, > and &
    write(path, page)


def _shown(shown: Image.Image | str) -> dict[str, str]:
    if isinstance(shown, str):
        return {"text": shown}
    picture = shown.convert("L" if shown.mode in ("1", "L") else "RGB")
    picture.thumbnail((SIDE, SIDE))
    kind = "png" if max(picture.size) <= LOSSLESS_UP_TO else "jpeg"
    content = io.BytesIO()
    picture.save(content, format=kind)
    return {"image": f"data:image/{kind};base64," + base64.b64encode(content.getvalue()).decode()}
