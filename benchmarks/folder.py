"""A folder of images: how long until training can begin, and how long an epoch of reading takes: `python benchmarks/folder.py`.

start    100,000 PNGs of 64×64: the first opening (decoding), and a second one in a process of its own, after torch is imported;
         the peak memory of either
epochs   JPEGs of 256 pixels, read at 64: a first epoch (decoding, then all batches) and a later one, against torchvision's
         ImageFolder with a DataLoader of two workers that resizes and crops

Files are written to a temporary folder, which is removed. Numbers are of one run; an epoch's is the median over three.
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


def measure_epochs(folder: Path, count: int) -> None:
    import torch
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from ssl_cli.config.compose import from_overrides
    from ssl_cli.data.batches import Batches
    from ssl_cli.data.dataset import load

    root = folder / "jpegs"
    write_images(root, count, 256, ".jpg")
    usual = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(64), transforms.PILToTensor()])
    loader = torch.utils.data.DataLoader(ImageFolder(str(root), usual), 256, shuffle=True, num_workers=2)
    began = time.perf_counter()
    seen = sum(len(images) for images, _ in loader)
    theirs = time.perf_counter() - began
    words = (
        f"dataset.root={root}",
        f"dataset.cache={folder / 'cache'}",
        "dataset.size=64",
        "dataset.colour=true",
        "budget=all",
    )
    began = time.perf_counter()
    train = load(from_overrides("dataset=folder", *words).dataset).train
    batches = Batches(train.inputs, None, None, 256, "shuffle", 0)

    def epoch(number: int) -> None:
        for step in range(batches.steps_per_epoch):
            int(batches.at(number * batches.steps_per_epoch + step).inputs.sum())

    epoch(0)
    first = time.perf_counter() - began
    later = []
    for number in range(1, 4):
        began = time.perf_counter()
        epoch(number)
        later.append(time.perf_counter() - began)
    per_image = {
        "ImageFolder, two workers": theirs / seen,
        "first epoch": first / count,
        "later": statistics.median(later) / len(train),
    }
    for name, seconds in per_image.items():
        ratio = per_image["ImageFolder, two workers"] / seconds
        print(f"{name}: {1e6 * seconds:,.0f} µs an image, {ratio:.1f} × as fast as ImageFolder")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--many", type=int, default=100_000, help="images whose opening is measured")
    asked.add_argument("--jpegs", type=int, default=4_000)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_epochs(Path(folder), options.jpegs)
        measure_start(Path(folder), options.many)


if __name__ == "__main__":
    main()
