"""One process with two threads against two processes with one: `python benchmarks/processes.py [OVERRIDE …]`.

A step of pre-training (batch, views, forward, loss, backward, optimiser), in alternating rounds in one command; the last line
is the ratio of the medians. On a machine that does something else, no number of it means anything. `--processes` and
`--threads` give others.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import load
from ssl_cli.runs.run import Run
from ssl_cli.stages.pretrain import material
from ssl_cli.stages.speed import endless
from ssl_cli.training.device import machine
from ssl_cli.training.distributed import end_started, taken_together
from ssl_cli.training.progress import Clock
from ssl_cli.training.step import Recipe, Steps

WARM_UP, STEPS = 3, 10


def milliseconds(words: list[str], processes: int, threads: int) -> float:
    """The median time of a step."""
    config = from_overrides("stage=pretrain", *words, f"runtime.processes={processes}", f"runtime.threads={threads}")
    here = machine(config.runtime)
    with tempfile.TemporaryDirectory() as folder:
        method, batches, views = material(config, load(config.dataset), Run(Path(folder) / "run", config), here)
        phase = endless(config.schedule.pretrain)
        steps = Steps(Recipe(method, batches, views, phase, here, config.seed), Clock({}))
        method.train()
        taken = []
        with taken_together(steps) as take:
            for step in range(WARM_UP + STEPS):
                began = time.perf_counter()
                take(step)
                here.wait()
                taken.append(time.perf_counter() - began)
    return 1e3 * statistics.median(taken[WARM_UP:])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("overrides", nargs="*", help="of the settings, such as backbone=resnet18")
    asked.add_argument("--processes", type=int, default=2)
    asked.add_argument(
        "--threads", type=int, default=1, help="of each of them; one process gets as many as all of these"
    )
    asked.add_argument("--rounds", type=int, default=5)
    given = asked.parse_args()
    found: dict[int, list[float]] = {1: [], given.processes: []}
    for _ in range(given.rounds):
        for count, taken in found.items():
            threads = given.threads * given.processes // count
            taken.append(milliseconds(given.overrides, count, threads))
            print(f"{count} × {threads} threads: {taken[-1]:.1f} ms a step", flush=True)
    end_started()
    one, several = (statistics.median(taken) for taken in found.values())
    print(f"{given.processes} processes ÷ one, PyTorch {torch.__version__}: {several / one:.2f}")


if __name__ == "__main__":
    main()
