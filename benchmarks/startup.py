"""How long until the command answers, as ratios in one run: `python benchmarks/startup.py`.

The command's help, its `--cfg job` and a typo are set against the help of a Hydra application that does nothing; the
moment at which the first training step on mnist5k begins against `import torch, torchvision`; a finished sweep of 72 jobs that is
typed again against the empty application.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from finished_sweep import make_finished_sweep
from rich.console import Console
from rich.table import Table

EMPTY = """
import hydra
@hydra.main(version_base="1.3", config_path=None)
def main(config): pass
main()
"""
# The first call of a step ends the process: what is measured is all that comes before it.
FIRST_STEP = """
import os, sys
from ssl_cli.cli.main import main
import ssl_cli.training.step
ssl_cli.training.step.take_step = lambda *_: os._exit(0)
sys.argv = ["ssl-cli", "pretrain", f"hydra.run.dir={sys.argv[1]}"]
main()
"""
TYPO = "ssl-cli budget.lables=3 (a typo)"
# At most this many times as long as what each is set against.
ASKED = {"ssl-cli --help": 1.1, TYPO: 1.1, "ssl-cli --cfg job": 1.5}
ASKED["ssl-cli pretrain, to its first step"] = 1.5
SWEEP = "ssl-cli -m …, a finished sweep of 72 jobs again"
ASKED[SWEEP] = 20.0
OWN = [sys.executable, "-m", "ssl_cli"]
ROUNDS = 9


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder, "empty.py")
        empty.write_text(EMPTY)
        step = Path(folder, "step.py")
        step.write_text(FIRST_STEP)
        number = iter(range(10**6))
        sweep = make_finished_sweep(Path(folder))
        commands = {
            "an empty Hydra application's --help": lambda: [sys.executable, empty, "--help"],
            "ssl-cli --help": lambda: [*OWN, "--help"],
            "ssl-cli --cfg job": lambda: [*OWN, "--cfg", "job"],
            TYPO: lambda: [*OWN, "budget.lables=3"],
            SWEEP: lambda: [*OWN, *sweep],
            "python -c 'import torch, torchvision'": lambda: [sys.executable, "-c", "import torch, torchvision"],
            "ssl-cli pretrain, to its first step": lambda: [sys.executable, step, f"{folder}/run{next(number)}"],
        }
        names = list(commands)
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for round_ in range(ROUNDS + 1):
            for name in names:
                began = time.perf_counter()
                done = subprocess.run(commands[name](), cwd=folder, capture_output=True, env=os.environ, text=True)
                if done.returncode != (2 if name == TYPO else 0):
                    sys.exit(f"{name} ended with {done.returncode}, so its time means nothing:\n{done.stderr}")
                if round_:  # the first one warms the disk's cache
                    seconds[name].append(time.perf_counter() - began)
    against = {name: names[0] if position < 5 else names[5] for position, name in enumerate(names)}
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    table = Table("command", "seconds", "ratio", "asked")
    rows = []
    for name in names:
        ratio = middle[name] / middle[against[name]]
        table.add_row(name, f"{middle[name]:.2f}", f"{ratio:.2f}", f"≤ {ASKED[name]:.2f}" if name in ASKED else "")
        rows.append({"command": name, "seconds": round(middle[name], 4), "ratio": round(ratio, 3)})
    Console().print(table)
    Path(__file__).with_name("startup.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
