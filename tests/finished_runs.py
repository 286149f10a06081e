"""Finished runs whose data are gone, and files to take to them."""

import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import _load_once
from ssl_cli.runs.run import Run
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.pretrain import pretrain

SMALL = ("schedule=smoke", "runtime.threads=1", "runtime.precision=float32", "runtime.compile=false")
LEARN = ("schedule.supervised.epochs=30", "schedule.supervised.max_steps=60", "schedule.supervised.evaluate_every=0",
         "schedule.supervised.optimiser={name: adam, lr: 0.01}")  # fmt: skip
SIDE, CLASSES = 12, ("left", "right", "whole")
FOOD, SPORT = ("bread", "soup", "cheese", "apple"), ("goal", "match", "team", "ball")


def pictures(count: int, seed: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Bright left halves, right halves or wholes under noise: uint8 (N, H, W) or (N, H, W, 3), and their classes."""
    source = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    images = source.integers(0, 60, (count, SIDE, SIDE), dtype=np.uint8)
    images[labels != 1, :, : SIDE // 2] += 150
    images[labels != 0, :, SIDE // 2 :] += 150
    return (images if channels == 1 else np.repeat(images[..., None], channels, 3)), labels


def train_on_pictures(folder: Path, *overrides: str, channels: int = 1) -> Path:
    """A finished run on pictures, which are removed: by default labels only, with a part for validation."""
    data = folder / "data"
    data.mkdir(parents=True)
    for part, count, seed in (("train", 240, 0), ("test", 60, 1)):
        images, labels = pictures(count, seed, channels)
        np.save(data / f"{part}_inputs.npy", images)
        np.save(data / f"{part}_labels.npy", labels)
    words = (
        "dataset=arrays",
        "augment=digits",
        "backbone=small",
        f"dataset.root={data}",
        "budget.labels=120",
        "budget.validation=0.5",
        "backbone.width=4",
        *LEARN,
    )
    return _finished(folder, data, *words, *overrides)


def train_on_texts(folder: Path, *overrides: str) -> Path:
    """A finished run on texts about food or sport, which are removed."""
    data = folder / "data"
    data.mkdir(parents=True)
    lines = [f"{text}\t{label}" for text, label in sentences(120, 0)]
    (data / "a.tsv").write_text("\n".join(["text\tlabel", *lines]))
    words = (
        "dataset=texts", f"dataset.root={data / 'a.tsv'}", f"dataset.cache={data / 'cache'}", "dataset.tokenizer.vocabulary=300",
        "augment=text", "backbone=bag", "budget.labels=60", "budget.validation=0.5", *LEARN,
    )  # fmt: skip
    return _finished(folder, data, *words, *overrides)


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts with their classes."""
    source = np.random.default_rng(seed)
    found = []
    for number in range(count):
        words, label = ((FOOD, "food"), (SPORT, "sport"))[number % 2]
        found.append((f"{number} " + " ".join(source.choice(words, 5)), label))
    return found


def save_pictures(folder: Path, count: int = 12, seed: int = 1) -> list[str]:
    """PNG files of new pictures, named by their class and number; the class of each, in the order of the names."""
    images, labels = pictures(count, seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03d}.png")
    return [CLASSES[label] for label in labels]


def _finished(folder: Path, data: Path, *words: str) -> Path:
    small = [word for word in SMALL if not any(o.split("=")[0] == word.split("=")[0] for o in words)]
    stage = next((word for word in words if word.startswith("stage=")), "stage=baseline")
    settings = from_overrides(f"outputs={folder / 'outputs'}", *small, stage, *words)
    run = Run(folder / "run", settings)
    threads = torch.get_num_threads()
    (pretrain if settings.stage.name == "pretrain" else finetune)(settings, run)
    torch.set_num_threads(threads)
    shutil.rmtree(data)
    _load_once.cache_clear()
    return run.folder
