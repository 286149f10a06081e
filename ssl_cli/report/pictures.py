"""Pictures of inputs, views and pretext tasks. Each function writes one PNG."""

import io
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.augment.views import encode
from ssl_cli.data.measures import confusion
from ssl_cli.data.text.tokenizer import texts_of
from ssl_cli.data.tokens import Tokens
from ssl_cli.data.types import Batch, Dataset, Inputs, as_rows, as_tensor, as_texts
from ssl_cli.randomness import Draws
from ssl_cli.report import plots
from ssl_cli.report.figure import optional
from ssl_cli.report.texts import save_texts
from ssl_cli.runs.files import write

PRETEXT_INPUTS = 1000  # training inputs in a pretext task's confusion matrix


@optional
def save_views(batch: Batch, views: Any, count: int, seed: int, path: Path) -> None:
    """Ten inputs, each above `count` views of it, with more draws if a method uses fewer than four.

    If inputs have partners, each input and one view of it are above its partner and one view of that.
    """
    if isinstance(batch.inputs, Tokens):
        save_texts(_text_views(batch, views, count, seed), path)
        return
    inputs, scale = as_tensor(batch.inputs[:10]), views.scale
    shown = {"input": encode(inputs, 1.0)}
    if batch.partners is not None:
        partners, draws = as_tensor(batch.partners[:10]), Draws(seed, "shown views")
        shown["its view"] = views(inputs, 1, draws)[0].cpu().float() / scale
        shown["same case"] = encode(partners, 1.0)
        shown["that one's view"] = views(partners, 1, draws)[0].cpu().float() / scale
    else:
        for draw in range(math.ceil(4 / count)):
            for view in views(inputs, count, Draws(seed, "shown views", draw)):
                shown[f"view {len(shown)}"] = view.cpu().float() / scale
    save_rows(shown, path)


def _text_views(batch: Batch, views: Any, count: int, seed: int) -> list[tuple[str, str]]:
    """Five texts, each above its views, and with a partner above those of it."""
    inputs, known = as_texts(batch.inputs)[:5], views.vocabulary
    shown = {"text": texts_of(known, inputs)}
    if batch.partners is not None:
        partners, draws = as_texts(batch.partners)[:5], Draws(seed, "shown views")
        shown["its view"] = texts_of(known, views(inputs, 1, draws)[0])
        shown["same case"] = texts_of(known, partners)
        shown["that one's view"] = texts_of(known, views(partners, 1, draws)[0])
    else:
        for number, view in enumerate(views(inputs, max(count, 2), Draws(seed, "shown views")), start=1):
            shown[f"view {number}"] = texts_of(known, view)
    return [(name, said[item]) for item in range(len(inputs)) for name, said in shown.items()]


@optional
def save_pretext(inputs: Inputs, views: Any, method: Any, seed: int, machine: Any, path: Path) -> None:
    """The method's `pictures` of ten inputs, if there are any."""
    seen = views(inputs[:10], method.n_views, Draws(seed, "shown views", 0, machine.device))
    draws = Draws(seed, "shown pretext", 0, machine.device)  # a resumed run draws the same picture
    method.eval()
    with torch.inference_mode(), machine.autocast():
        shown = method.pictures(seen, draws)
    if not shown:
        return
    if isinstance(next(iter(shown.values())), list):
        save_texts([(name, said[item]) for item in range(len(inputs[:10])) for name, said in shown.items()], path)
    else:
        save_rows({name: images.float().cpu() / views.scale for name, images in shown.items()}, path)


@optional
def save_classes(dataset: Dataset, views: Any, classes: Tensor, seed: int, path: Path) -> None:
    """One row per surrogate class, for ten of them: up to ten inputs without augmentation, and views of them if there are fewer.

    Args:
        dataset, views: of the pre-training.
        classes: int64 (N,), of every training input; negative for none.
        seed: of the views.
        path: of the PNG.
    """
    if isinstance(dataset.train.inputs, Tokens):
        return
    shown = {}
    for number in classes[classes >= 0].unique()[:10].tolist():
        members = (classes == number).nonzero()[:10, 0]
        inputs = as_rows(dataset.train.inputs)[members.repeat(10)[:10]]
        (varied,) = views(inputs, 1, Draws(seed, "shown classes", number))
        row = torch.cat(
            [encode(inputs[: len(members)], 1.0), _enlarged(varied.float() / views.scale, inputs.shape[2:])]
        )
        shown[f"class {number}"] = row[:10]
    save_rows(shown, path)


@optional
def save_answers(dataset: Dataset, views: Any, method: Any, seed: int, machine: Any, path: Path) -> None:
    """The confusion matrix of the pretext task on up to 1,000 training inputs, if it has a few classes."""
    spaced = torch.linspace(0, len(dataset.train) - 1, min(len(dataset.train), PRETEXT_INPUTS)).long()
    method.eval()
    found = []
    for part, items in enumerate(spaced.split(PRETEXT_INPUTS // 10)):
        inputs = dataset.train.inputs[items]
        seen = views(inputs, method.n_views, Draws(seed, "shown answers", part, machine.device))
        with torch.inference_mode(), machine.autocast():
            draws = Draws(seed, "shown answers", part, machine.device)
            found.append(method.answers(tuple(map(machine.layout, seen)), draws))
        if found[-1] is None:
            return
    each = [confusion(answers.predictions.cpu(), answers.targets.cpu(), len(answers.names)) for answers in found]
    counts = torch.stack(each).sum(0)
    what, names = found[0].what, found[0].names
    plots.save_confusion(counts, names, path, f"true {what}", f"predicted {what}", "pretext accuracy")


def _enlarged(images: Tensor, size: torch.Size) -> Tensor:
    """Images of another size, such as small views, with larger pixels: (N, C, H, W) → (N, C, *size)."""
    return images if images.shape[2:] == size else F.interpolate(images, size, mode="nearest")


@optional
def save_rows(shown: dict[str, Tensor], path: Path) -> None:
    """Rows of small images (N, C, H, W) in 0–1, with their names. With Pillow, which is imported far faster than matplotlib."""
    from PIL import Image, ImageDraw, ImageFont

    largest = max((row.shape[2:] for row in shown.values()), key=lambda size: size.numel())
    same = [_enlarged(row, largest) for row in shown.values()]
    rows = [torch.cat(list(F.pad(row, (1, 1, 1, 1), value=0.5)), dim=2) for row in same]
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
