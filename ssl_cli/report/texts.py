"""Pictures of texts: each a PNG with a line, or a few, for each text."""

import io
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from ssl_cli.report.figure import optional
from ssl_cli.runs.files import write

if TYPE_CHECKING:
    from PIL import ImageFont

WIDTH = 110  # letters of a line
LINES = 3  # of a text; more is cut


@optional
def save_texts(rows: list[tuple[str, str]], path: Path) -> None:
    """Lines of a name and a text; an empty name continues a group, and groups have a space between them."""
    from PIL import Image, ImageDraw

    font, bold = font_of("", 14), font_of("-Bold", 14)
    lines = []
    for number, (name, text) in enumerate(rows):
        parts = textwrap.wrap(drawable(text), WIDTH, max_lines=LINES, placeholder=" …") or [""]
        lines += [("", "")] * bool(name == rows[0][0] and number) + [
            (name, parts[0]),
            *(("", part) for part in parts[1:]),
        ]
    margin = 24 + max(int(bold.getlength(name)) for name, _ in lines)
    width = margin + 12 + max(int(font.getlength(text)) for _, text in lines)
    canvas = Image.new("RGB", (width, 20 * len(lines) + 16), "white")
    draw = ImageDraw.Draw(canvas)
    for row, (name, text) in enumerate(lines):
        draw.text((12, 8 + 20 * row), name, fill="black", font=bold)
        draw.text((margin, 8 + 20 * row), text, fill="black", font=font)
    buffer = io.BytesIO()
    canvas.save(buffer, format="png")
    write(path, buffer.getvalue())


def font_of(kind: str, size: int) -> "ImageFont.FreeTypeFont":
    """DejaVu Sans, which has the letters of most languages; Pillow's own font has those of few. `kind`: empty, or -Bold."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{kind}.ttf"), size)


def drawable(text: str) -> str:
    """A text on one line, with � for each character that cannot be drawn; the layout of a line fails on some."""
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "�" for letter in text)
