"""How time and memory grow: `python benchmarks/growth.py`; writes growth.json and growth.png.

A step of pre-training against batch, views' size and number of inputs, the memory of NT-Xent against the batch, and an
epoch over up to a million memory-mapped inputs. Every point is a process of its own, so that peaks do not mix.
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

HERE = Path(__file__).parent
ROUNDS = 5


# Points, each run as `growth.py POINT ARGUMENTS`


def step(batch_size: int, views: int, side: int) -> dict[str, float]:
    """Seconds of a step with `small` on square grey inputs; views in pairs, each pair with an NT-Xent of its own."""
    import torch
    from steps import from_overrides, load, machine, ours, pretraining_method

    from ssl_cli.methods.simclr import SimCLR, nt_xent

    class Pairs(SimCLR):
        n_views = views

        def loss(self, seen, labels):
            z = self.head(self.backbone(torch.cat(seen))).float().chunk(views)
            return sum(nt_xent(z[at], z[at + 1], self.temperature) for at in range(0, views, 2)) / (views // 2), {}

    config = from_overrides(
        "stage=pretrain", "dataset=synthetic", f"dataset.facts.inputs={max(1024, batch_size)}", "budget.labels=10",
        f"dataset.facts.shape=[1,{side},{side}]", f"schedule.pretrain.batch_size={batch_size}",
    )  # fmt: skip
    method = pretraining_method(config, load(config.dataset))
    method.__class__ = Pairs
    runner = ours(config, machine(config.runtime), method)
    runner(2)
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        runner(1)
        taken.append(time.perf_counter() - began)
    return {"seconds": statistics.median(taken)}


def loss(batch_size: int, matrix_mib: int) -> dict[str, float]:
    """Seconds and MiB of one forward and backward of NT-Xent on 128 dimensions."""
    import torch

    from ssl_cli.methods.simclr import nt_xent

    z = [torch.randn(batch_size, 128, requires_grad=True) for _ in range(2)]
    nt_xent(z[0][:64], z[1][:64], 0.1).backward()
    before = _anonymous_peak()
    began = time.perf_counter()
    nt_xent(*z, 0.1, matrix_mib << 20).backward()
    return {"seconds": time.perf_counter() - began, "mib": _anonymous_peak() - before}


def epoch(count: int, folder: str) -> dict[str, float]:
    """An epoch's seconds and peak MiB (pages of the mapped file not counted) over the first `count` inputs of a file."""
    import torch

    from ssl_cli.augment.views import Views
    from ssl_cli.config.build import build
    from ssl_cli.config.compose import from_overrides
    from ssl_cli.data.batches import Batches
    from ssl_cli.data.dataset import load
    from ssl_cli.stages.networks import pretraining_method
    from ssl_cli.training.device import machine
    from ssl_cli.training.optim import optimiser
    from ssl_cli.training.step import prepare, take_step

    config = from_overrides(
        "stage=pretrain", "dataset=arrays", f"dataset.root={folder}", "backbone=warfield", "head=warfield",
        "augment=natural", "schedule.pretrain.batch_size=512",
    )  # fmt: skip
    here = machine(config.runtime)
    dataset = load(config.dataset)
    method = here.place(pretraining_method(config, dataset)).train()
    views: Views = build(config.augment.pretrain, scale=1.0)
    batches = Batches(dataset.train.inputs, None, torch.arange(count), 512, "shuffle", 0)
    optimise, scaler = optimiser(method.parameter_groups(), config.schedule.pretrain.optimiser), here.scaler()
    began = time.perf_counter()
    for number in range(batches.steps_per_epoch):
        take_step(method, optimise, scaler, [prepare(batches, views, method, number, 0, here)], here)
    return {"seconds": time.perf_counter() - began, "mib": _anonymous_peak()}


def _anonymous_peak() -> float:
    """The highest MiB of this process so far without pages of files, as nearly as Linux tells: peak less mapped files."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kib = {key: int(status[key].split()[0]) for key in ("VmHWM", "RssFile")}
    return (kib["VmHWM"] - kib["RssFile"]) / 1024


# The run


def _point(name: str, *arguments: object) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, __file__, name, *map(str, arguments)], capture_output=True, text=True, cwd=HERE
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    row = {"what": name, "arguments": list(map(str, arguments)), **json.loads(done.stdout.splitlines()[-1])}
    print(row, flush=True)
    return row


def _write_images(folder: Path, count: int) -> None:
    """Noise, as many 32×32 colour images as asked for."""
    noise = np.random.default_rng(0)
    images = np.lib.format.open_memmap(folder / "train_inputs.npy", "w+", np.uint8, (count, 3, 32, 32))
    for start in range(0, count, 50_000):
        part = images[start : start + 50_000]
        part[:] = noise.integers(0, 256, part.shape, np.uint8)
    images.flush()
    np.save(folder / "train_labels.npy", np.arange(count) % 10)
    np.save(folder / "test_inputs.npy", images[:100])
    np.save(folder / "test_labels.npy", np.arange(100) % 10)


def _draw(rows: list[dict]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.4), layout="constrained")
    axes = figure.subplots(2, 3).flat

    def panel(title: str, points: list[tuple[float, float]], across: str, up: str, label: str | None = None, axis=None):
        axis = axis or next(axes)
        axis.plot(*zip(*points, strict=True), "o-", ms=4, lw=1.4, label=label)
        axis.set(title=title, xlabel=across, ylabel=up, xscale="log")
        measured = sorted({across for line in axis.lines for across in line.get_xdata()})
        axis.set_xticks(measured, [f"{number:,}" for number in measured], fontsize=8)
        axis.minorticks_off()
        if up == "MiB":
            axis.set_ylim(0, 1.1 * max(height for line in axis.lines for height in line.get_ydata()))
        else:
            axis.set_yscale("log")
        axis.spines[["top", "right"]].set_visible(False)
        if label:
            axis.legend(fontsize=8, frameon=False)
        return axis

    steps = [(list(map(int, row["arguments"])), 1e3 * row["seconds"]) for row in rows if row["what"] == "step"]
    panel("step, by batch", [(a[0], t) for a, t in steps if a[1:] == [2, 28]], "batch (two views, 28×28)", "ms")
    panel("step, by views", [(a[1], t) for a, t in steps if a[0] == 64 and a[2] == 28], "views (batch 64, 28×28)", "ms")
    panel("step, by side", [(a[2], t) for a, t in steps if a[:2] == [64, 2]], "side of the input (batch 64)", "ms")
    axis = None
    for matrix, name in ((1 << 20, "one matrix"), (256, "blocks above 256 MiB")):
        points = [
            (int(r["arguments"][0]), r["mib"]) for r in rows if r["what"] == "loss" and r["arguments"][1] == str(matrix)
        ]
        axis = panel("memory of NT-Xent", points, "batch", "MiB", name, axis)
    epochs = [row for row in rows if row["what"] == "epoch"]
    panel("epoch, memory-mapped", [(int(r["arguments"][0]), r["seconds"]) for r in epochs], "inputs, 32×32 colour", "s")
    panel("its memory", [(int(r["arguments"][0]), r["mib"]) for r in epochs], "inputs, 32×32 colour", "MiB")
    figure.savefig(HERE / "growth.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, help="the largest number of memory-mapped inputs")
    largest = parser.parse_args().inputs
    rows = [_point("step", size, 2, 28) for size in (32, 64, 128, 256, 512, 1024)]
    rows += [_point("step", 64, views, 28) for views in (4, 8)]
    rows += [_point("step", 64, 2, side) for side in (32, 64, 96, 128)]
    rows += [_point("loss", size, 1 << 20) for size in (512, 1024, 2048, 4096, 8192)]
    rows += [_point("loss", size, 256) for size in (512, 1024, 2048, 4096, 8192, 16384)]
    with tempfile.TemporaryDirectory() as folder:
        _write_images(Path(folder), largest)
        rows += [_point("epoch", count, folder) for count in (largest // 100, largest // 10, largest)]
    for row in rows:
        if row["what"] == "epoch":
            row["arguments"] = row["arguments"][:1]
    (HERE / "growth.json").write_text(json.dumps(rows, indent=1) + "\n")
    _draw(rows)


if __name__ == "__main__":
    points = {"step": step, "loss": loss, "epoch": epoch}
    if sys.argv[1:2] and sys.argv[1] in points:
        arguments = [int(word) if word.isdigit() else word for word in sys.argv[2:]]
        print(json.dumps(points[sys.argv[1]](*arguments)))
    else:
        main()
