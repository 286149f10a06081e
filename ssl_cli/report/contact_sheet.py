"""A contact sheet: small pictures in rows, each with two lines below it."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from ssl_cli.report.figure import optional
from ssl_cli.report.texts import drawable, font_of
from ssl_cli.runs.files import write

SIDE, GAP, LINE = 128, 12, 17  # pixels
COLUMNS = 8


@optional
def save_contact_sheet(tiles: Sequence[tuple[Image.Image, str, str]], path: Path) -> None:
    """Write the pictures, in colour or grey, with their lines, of which what is too wide is cut."""
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    step = (SIDE + GAP, SIDE + 2 * LINE + GAP)
    canvas = Image.new("RGB", (columns * step[0] + GAP, rows * step[1] + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    bold, plain = font_of("-Bold", 12), font_of("", 12)
    for number, (picture, first, second) in enumerate(tiles):
        left, top = GAP + number % columns * step[0], GAP + number // columns * step[1]
        # Small images keep their pixels, which a smooth enlargement would blur.
        resampling = Image.Resampling.NEAREST if max(picture.size) < SIDE else Image.Resampling.BICUBIC
        shown = ImageOps.pad(picture.convert("RGB"), (SIDE, SIDE), resampling, "#eeeeee")
        canvas.paste(shown, (left, top))
        draw.text((left, top + SIDE + 2), _cut(first, bold), fill="black", font=bold)
        draw.text((left, top + SIDE + 2 + LINE), _cut(second, plain), fill="#444444", font=plain)
    buffer = io.BytesIO()
    canvas.save(buffer, format="png")
    write(path, buffer.getvalue())


def _cut(line: str, font: ImageFont.FreeTypeFont) -> str:
    line = drawable(line)[:200]
    if font.getlength(line) <= SIDE:
        return line
    while line and font.getlength(line + "…") > SIDE:
        line = line[:-1]
    return line + "…"
