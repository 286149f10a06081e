"""How memory and time grow with the number of texts: `python benchmarks/text_scale.py`; writes text_scale.json.

Short synthetic texts, as JSON lines, are opened as `dataset=texts`, once when the tokens are made and once when they are there,
and take two steps of pre-training. Each point is a process of its own, so that peaks do not mix.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def write_texts(path: Path, count: int) -> None:
    """Texts of 4 to 20 of 20,000 words, of which few are frequent; a class each."""
    source = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(letters[source.integers(0, 26, size)]) for size in source.integers(2, 9, 20_000)])
    with path.open("w") as file:
        for start in range(0, count, 10_000):
            sizes = source.integers(4, 21, min(10_000, count - start))
            ranks = np.exp(source.uniform(0, np.log(len(words)), sizes.sum())).astype(int) - 1
            for number, part in enumerate(np.split(words[ranks], sizes.cumsum()[:-1]), start=start):
                file.write(json.dumps({"text": f"{' '.join(part)} {number}", "label": str(number % 4)}) + "\n")


def opened(path: Path, cache: Path) -> dict[str, float]:
    """Seconds of opening and of a step, and the process's highest MiB without pages of files."""
    from steps import from_overrides, load, machine, ours

    config = from_overrides(
        "stage=pretrain", "dataset=texts", f"dataset.root={path}", f"dataset.cache={cache}", "augment=text", "backbone=bag",
        "head=simclr", "schedule=text", "budget.labels=100",
    )  # fmt: skip
    before, began = _anonymous_peak(), time.perf_counter()
    dataset = load(config.dataset)
    opening = time.perf_counter() - began
    runner = ours(config, machine(config.runtime))
    runner(1)
    began = time.perf_counter()
    runner(2)
    return {
        "texts": len(dataset.train) + len(dataset.test),
        "seconds": round(opening, 2),
        "step": round((time.perf_counter() - began) / 2, 4),
        "mib": round(_anonymous_peak()),
        "mib_of_imports": round(before),
    }


def _anonymous_peak() -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kib = {key: int(status[key].split()[0]) for key in ("VmHWM", "RssFile")}
    return (kib["VmHWM"] - kib["RssFile"]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    rows = []
    for count in parser.parse_args().texts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_texts(folder / "texts.jsonl", count)
            for opening in ("first", "second"):
                command = [sys.executable, __file__, "opened", str(folder / "texts.jsonl"), str(folder / "cache")]
                done = subprocess.run(command, capture_output=True, text=True, cwd=HERE)
                if done.returncode:
                    raise SystemExit(done.stderr)
                rows.append({"opening": opening, **json.loads(done.stdout.splitlines()[-1])})
                print(rows[-1], flush=True)
    (HERE / "text_scale.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["opened"]:
        print(json.dumps(opened(Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main()
