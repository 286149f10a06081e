"""One process with two threads against two processes with one: `python benchmarks/processes.py [OVERRIDE …]`.

A step of pre-training (batch, views, forward, loss, backward, optimiser), in alternating rounds in one command, of each of four
networks, or of the one that overrides name. The last lines are ratios of medians within the command. On a machine that does
something else, no number of it means anything. `--processes` and `--threads` give others.

What sharing costs is the share of a step by which it takes longer than that of one process which has as many threads as each of
them and its share of the batch alone: it sends nothing, but neither does it share memory and caches, or compute the loss of all.
MiB are those of the largest process, which keeps what it took for earlier measurements: only the first line of a command with one
network says what that network takes.
"""

import argparse
import os
import re
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
TEXTS = ("dataset=commands", "augment=whole_text", "schedule=text", "method=masked_lm", "head.keep=0")
NETWORKS = {
    "small": ("backbone=small",),
    "warfield": ("backbone=warfield",),
    "resnet18": ("backbone=resnet18", "schedule.pretrain.batch_size=64"),
    "transformer": (*TEXTS, "backbone=transformer", "schedule.pretrain.batch_size=64"),
}


def measure(words: list[str], processes: int, threads: int, share: int = 1) -> tuple[float, float]:
    """The median milliseconds of a step, and the most MiB that a process has in memory meanwhile.

    Args:
        words: overrides.
        processes, threads: that compute, and of each.
        share: of the batch, 1 / so much.
    """
    config = from_overrides("stage=pretrain", *words, f"runtime.processes={processes}", f"runtime.threads={threads}")
    if share > 1:
        size = f"schedule.pretrain.batch_size={config.schedule.pretrain.batch_size // share}"
        return measure([*words, size], processes, threads)
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
            held = max(map(mebibytes, [os.getpid(), *(others() if processes > 1 else [])]))
    return 1e3 * statistics.median(taken[WARM_UP:]), held


def others() -> list[int]:
    """The processes that this one has started."""
    return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def mebibytes(pid: int) -> float:
    """What a process has in main memory now."""
    found = re.search(r"VmRSS:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def compare(name: str, words: list[str], processes: int, threads: int, rounds: int) -> str:
    """Measure in alternating rounds; a line of ratios."""
    ways = {
        f"1 process × {processes * threads} threads": (1, processes * threads, 1),
        f"{processes} processes × {threads}": (processes, threads, 1),
        "a share alone": (1, threads, processes),
    }
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, numbers in ways.items():
            found[way].append(measure(words, *numbers))
            print(f"{name}, {way}: {found[way][-1][0]:.1f} ms a step, {found[way][-1][1]:.0f} MiB", flush=True)
    one, several, alone = (statistics.median(time for time, _ in taken) for taken in found.values())
    return (
        f"{name}: {processes} processes take {several / one:.2f} of the time of one ({1e3 / several:.1f} and "
        f"{1e3 / one:.1f} steps a second), {max(0.0, 1 - alone / several):.0%} of it for sharing"
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument(
        "overrides", nargs="*", help="of the settings, such as backbone=resnet18; without, four networks"
    )
    asked.add_argument("--processes", type=int, default=2)
    asked.add_argument(
        "--threads", type=int, default=1, help="of each of them; one process gets as many as all of these"
    )
    asked.add_argument("--rounds", type=int, default=5)
    given = asked.parse_args()
    networks = {"as asked": given.overrides} if given.overrides else NETWORKS
    lines = [
        compare(name, list(words), given.processes, given.threads, given.rounds) for name, words in networks.items()
    ]
    end_started()
    print(*lines, f"PyTorch {torch.__version__}", sep="\n")


if __name__ == "__main__":
    main()
