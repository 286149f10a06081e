"""The same sweep with its jobs one after the other, each with all cores, and with one job for each core at the same time.

    python benchmarks/sweep_processes.py [--rounds 3] [words of the sweep]

Both ways in turn, in folders that are removed. Each job is a training of its own: what several need (a pre-training, a compiled
backbone) would be made once in either way and is left out by `stage=baseline`. Needs `pip install '.[joblib]'`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ssl_cli.cores import cores

DEFAULT = ["baseline", "budget.labels=50,100,150,200", "runtime.compile=false"]
WAYS = {
    "one after the other": lambda cores: [f"runtime.threads={cores}"],
    "one for each core": lambda cores: ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={cores}"],
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("words", nargs="*", default=DEFAULT)
    asked, here = options.parse_args(), cores()
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(asked.rounds):
        print(f"round {number + 1}, load {os.getloadavg()[0]:.1f}", flush=True)
        for way, words in WAYS.items():
            took[way].append(seconds([*asked.words, *words(here)]))
            print(f"  {way}: {took[way][-1]:.1f} s", flush=True)
    medians = {way: round(statistics.median(found), 1) for way, found in took.items()}
    first, second = medians.values()
    print(json.dumps({"cores": here, "seconds": took, "medians": medians, "ratio": round(second / first, 3)}, indent=1))


def seconds(words: list[str]) -> float:
    """Of a whole sweep, from the command to its table."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "ssl_cli", "-m", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        taken = time.perf_counter() - begun
        if not (Path(folder) / "outputs").is_dir():
            raise SystemExit("the sweep left no results")
        return taken


if __name__ == "__main__":
    main()
