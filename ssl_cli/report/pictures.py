"""Rows of inputs as pictures: what is learnt from, and what was learnt. Each function writes one PNG."""

import io
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.augment.views import encode
from ssl_cli.data.types import Batch, Dataset
from ssl_cli.randomness import derived_seed, generator, seed_network
from ssl_cli.report import plots
from ssl_cli.runs.files import write
from ssl_cli.training.evaluate import confusion

ASKED = 1000  # training inputs, about their pretext task


def save_views(batch: Batch, views: Any, count: int, seed: int, scale: float, path: Path) -> None:
    """Ten inputs, each above `count` views of it and, where a method takes fewer than four, some more draws.

    Where inputs have partners, each stands with a view of its own above its partner with one.
    """
    inputs = batch.inputs[:10]
    shown = {"input": encode(inputs, 1.0)}
    if batch.partners is not None:
        partners, source = batch.partners[:10], generator(seed, "shown views", 0)
        shown["its view"] = views(inputs, 1, source)[0].cpu().float() / scale
        shown["same case"] = encode(partners, 1.0)
        shown["that one's view"] = views(partners, 1, source)[0].cpu().float() / scale
    else:
        for draw in range(math.ceil(4 / count)):
            for view in views(inputs, count, generator(seed, "shown views", draw)):
                shown[f"view {len(shown)}"] = view.cpu().float() / scale
    save_rows(shown, path)


def save_pretext(inputs: Tensor, views: Any, method: Any, seed: int, scale: float, machine: Any, path: Path) -> None:
    """What the method shows of its task on ten inputs, if it shows anything."""
    inputs = inputs[:10].to(machine.device)
    seen = views(inputs, method.n_views, generator(seed, "shown views", 0, machine.device))
    seed_network(derived_seed(seed, "shown pretext"), machine.device)  # a resumed run draws the same picture
    method.eval()
    with torch.inference_mode(), machine.autocast():
        shown = {name: images.float().cpu() / scale for name, images in method.pictures(seen).items()}
    if shown:
        save_rows(shown, path)


def save_classes(dataset: Dataset, views: Any, classes: Tensor, seed: int, scale: float, path: Path) -> None:
    """A row a class, for some of them: up to ten inputs of it as they are, and, where it has fewer, views of them.

    Args:
        dataset, views: what is learnt from.
        classes: int64 (N,), of every training input; below 0 where it has none.
        seed: of the views.
        scale: pixels of views are 0 to this.
        path: of the picture.
    """
    shown = {}
    for number in classes[classes >= 0].unique()[:10].tolist():
        members = (classes == number).nonzero()[:10, 0]
        inputs = dataset.train.inputs[members.repeat(10)[:10]]
        (varied,) = views(inputs, 1, generator(seed, "shown classes", number))
        row = torch.cat([encode(inputs[: len(members)], 1.0), varied.float() / scale])
        shown[f"class {number}"] = row[:10]
    save_rows(shown, path)


def save_answers(dataset: Dataset, views: Any, method: Any, seed: int, machine: Any, path: Path) -> None:
    """How often each answer of the pretext task is taken for each, if it has a few, on up to 1,000 training inputs."""
    spaced = torch.linspace(0, len(dataset.train) - 1, min(len(dataset.train), ASKED)).long()
    seed_network(derived_seed(seed, "shown answers"), machine.device)
    method.eval()
    found = []
    for part, items in enumerate(spaced.split(ASKED // 10)):
        inputs = dataset.train.inputs[items].to(machine.device)
        seen = views(inputs, method.n_views, generator(seed, "shown answers", part, machine.device))
        with torch.inference_mode(), machine.autocast():
            found.append(method.answers(tuple(map(machine.layout, seen))))
        if found[-1] is None:
            return
    counts = sum(confusion(answers.said.cpu(), answers.wanted.cpu(), len(answers.names)) for answers in found)
    thing, names = found[0].thing, found[0].names
    plots.save_confusion(counts, names, path, f"{thing} given", f"{thing} said", "pretext accuracy")


def save_rows(shown: dict[str, Tensor], path: Path) -> None:
    """Rows of small pictures beside their names, (N, C, H, W) in 0 to 1. By Pillow: it starts far faster than matplotlib."""
    from PIL import Image, ImageDraw, ImageFont

    rows = [torch.cat(list(F.pad(row, (1, 1, 1, 1), value=0.5)), dim=2) for row in shown.values()]
    mosaic = (torch.cat(rows, dim=1).clamp(0, 1) * 255).byte().permute(1, 2, 0).expand(-1, -1, 3)
    side = rows[0].shape[1]
    larger = max(1, 72 // side)
    picture = Image.fromarray(mosaic.contiguous().numpy())
    picture = picture.resize((picture.width * larger, picture.height * larger), Image.Resampling.NEAREST)
    font = ImageFont.load_default(14)
    margin = 16 + math.ceil(max(font.getlength(name) for name in shown))
    canvas = Image.new("RGB", (picture.width + margin, picture.height), "white")
    canvas.paste(picture, (margin, 0))
    draw = ImageDraw.Draw(canvas)
    for row, name in enumerate(shown):
        draw.text((margin - 8, (row + 0.5) * side * larger), name, fill="black", font=font, anchor="rm")
    buffer = io.BytesIO()
    canvas.save(buffer, format="png")
    write(path, buffer.getvalue())
