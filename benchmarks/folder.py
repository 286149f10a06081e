"""A folder of images: how long until training can begin, and how long an epoch of reading takes: `python benchmarks/folder.py`.

start    100,000 PNGs of 64×64: the first opening (decoding), and a second one in a process of its own, after torch is imported;
         the peak memory of either
epochs   JPEGs of 256 pixels, read at 64: a first epoch (decoding, then all batches) and a later one, against torchvision's
         ImageFolder with a DataLoader of two workers that resizes and crops; in turns, with medians over the rounds

Files are written to a temporary folder, which is removed. The start is measured once.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

OPEN = """
import json, resource, sys, time
import torch
from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
config = from_overrides(*sys.argv[1:])
began = time.perf_counter()
found = load(config.dataset)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "peak_mib": peak, "inputs": len(found.train) + len(found.test)}))
"""


def write_images(root: Path, count: int, side: int, suffix: str) -> None:
    """Smooth random images in ten class folders."""
    source = np.random.default_rng(0)
    for kind in range(10):
        (root / f"class{kind}").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        coarse = Image.fromarray(source.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        image = coarse.resize((side, side), Image.Resampling.BICUBIC)
        image.save(
            root / f"class{number % 10}" / f"{number}{suffix}", **({"compress_level": 1} if suffix == ".png" else {})
        )


def opened(root: Path, cache: Path, size: int) -> dict[str, float]:
    """Seconds and peak memory of opening the folder in a process of its own."""
    words = [
        "dataset=folder",
        f"dataset.root={root}",
        f"dataset.cache={cache}",
        f"dataset.size={size}",
        "dataset.colour=true",
    ]
    out = subprocess.run([sys.executable, "-c", OPEN, *words], check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def measure_start(folder: Path, count: int) -> None:
    write_images(folder / "many", count, 64, ".png")
    for name in ("first", "second"):
        found = opened(folder / "many", folder / "cache", 64)
        print(f"{name} opening of {count:,} images: {found['seconds']:.1f} s, peak {found['peak_mib']:,.0f} MiB")


def measure_epochs(folder: Path, count: int, rounds: int) -> None:
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from ssl_cli.config.compose import from_overrides
    from ssl_cli.data.batches import Batches
    from ssl_cli.data.dataset import load

    root = folder / "jpegs"
    write_images(root, count, 256, ".jpg")
    usual = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(64), transforms.PILToTensor()])
    images = ImageFolder(str(root), usual)
    words = ("dataset=folder", f"dataset.root={root}", "dataset.size=64", "dataset.colour=true", "budget=all")

    def theirs() -> float:
        began = time.perf_counter()
        seen = sum(len(batch) for batch, _ in torch.utils.data.DataLoader(images, 256, shuffle=True, num_workers=2))
        return (time.perf_counter() - began) / seen

    def ours(number: int) -> tuple[float, float]:
        """Of the first epoch, with nothing in the cache, and of the second one."""
        settings = from_overrides(*words, f"dataset.cache={folder / f'cache{number}'}").dataset
        began = time.perf_counter()
        train = load(settings).train
        batches = Batches(train.inputs, None, None, 256, "shuffle", 0)
        ends = []
        for step in range(2 * batches.steps_per_epoch):
            int(batches.at(step).inputs.sum())
            ends.append(time.perf_counter())
        first, second = ends[batches.steps_per_epoch - 1], ends[-1]
        return (first - began) / count, (second - first) / len(train)

    taken: dict[str, list[float]] = {name: [] for name in ("ImageFolder, two workers", "first epoch", "later epochs")}
    for number in range(rounds):
        for name, seconds in zip(taken, (theirs(), *ours(number)), strict=True):
            taken[name].append(seconds)
    rival = taken["ImageFolder, two workers"]
    for name, seconds in taken.items():
        ratio = statistics.median(own / other for own, other in zip(seconds, rival, strict=True))
        print(f"{name}: {1e6 * statistics.median(seconds):,.0f} µs an image, {ratio:.2f} of ImageFolder's")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--many", type=int, default=100_000, help="images whose opening is measured; 0: none")
    asked.add_argument("--jpegs", type=int, default=4_000, help="images of an epoch; 0: none")
    asked.add_argument("--rounds", type=int, default=5, help="first epochs of either")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.jpegs:
            measure_epochs(Path(folder), options.jpegs, options.rounds)
        if options.many:
            measure_start(Path(folder), options.many)


if __name__ == "__main__":
    main()
