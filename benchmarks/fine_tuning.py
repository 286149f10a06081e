"""What a step of fine-tuning costs where a part of the backbone is trained: `python benchmarks/fine_tuning.py`.

Steps of all arms take turns in one process on one thread, and are measured in seconds of the processor, so that other work of the
machine counts for little. A step is forward, backward and optimiser on one batch that is there already.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from ssl_cli.config.compose import from_overrides
from ssl_cli.data.dataset import described
from ssl_cli.data.token_batch import sample
from ssl_cli.methods.networks import count_trained
from ssl_cli.randomness import Draws
from ssl_cli.stages.networks import fresh_classifier
from ssl_cli.training.device import machine
from ssl_cli.training.optim import optimiser, set_rate
from ssl_cli.training.step import Prepared, take_step

IMAGES = "dataset=synthetic dataset.facts.shape=[3,32,32] head.keep=0 schedule.supervised.optimiser.name=adamw"
TEXTS = (
    "dataset=texts augment=text head=linear schedule.supervised.optimiser.name=adamw "
    "dataset.facts={inputs:300,unlabelled:0,test:60,classes:10,cases:0,vocabulary:8000,languages:0}"
)
NETWORKS = {
    "resnet18, 32 images of 32×32": f"{IMAGES} backbone=resnet18",
    "vit of 6 blocks × 192, 32 images of 32×32": f"{IMAGES} backbone=vit backbone.patch=4 backbone.width=192 backbone.depth=6 "
    "backbone.heads=3",
    "transformer of 4 layers × 256, 32 texts of 64 tokens": f"{TEXTS} backbone=transformer",
}
ARMS = {
    "all": "stage.train=all",
    "the last 2 layers": "stage.train=last stage.layers=2",
    "the last layer": "stage.train=last stage.layers=1",
    "LoRA of rank 8": "stage.train=lora stage.rank=8",
}
BATCH, TOKENS = 32, 64


def main() -> None:
    """A table of all networks and arms."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=7)
    rounds = asked.parse_args().rounds
    torch.set_num_threads(1)
    print(_processor(), f"PyTorch {torch.__version__}, float32, one thread, medians of {rounds} rounds", sep=", ")
    print("| network | trained | parameters | ms a step (lowest–highest) | ÷ all |\n|---|---|---:|---:|---:|")
    for name, words in NETWORKS.items():
        steps = {arm: _step(f"stage=baseline {words} {more}") for arm, more in ARMS.items()}
        taken: dict[str, list[float]] = {arm: [] for arm in steps}
        for number in range(rounds + 1):
            for arm, (step, _) in steps.items():
                began = time.process_time()
                step()
                if number:  # the first warms up
                    taken[arm].append(1000 * (time.process_time() - began))
        whole = statistics.median(taken["all"])
        for arm, times in taken.items():
            middle = statistics.median(times)
            spread = f"{middle:.0f} ({min(times):.0f}–{max(times):.0f})"
            print(f"| {name} | {arm} | {steps[arm][1]:,} | {spread} | {middle / whole:.2f} |", flush=True)


def _step(words: str):
    """A function that takes a step, and how many parameters it trains."""
    config = from_overrides(*words.split(), "runtime.precision=float32", "runtime.device=cpu", "runtime.threads=1")
    here, dataset = machine(config.runtime), described(config.dataset)
    method = here.place(fresh_classifier(config, dataset, None))
    method.train()
    optimise, scaler = optimiser(method.parameter_groups(), config.schedule.supervised.optimiser), here.scaler()
    set_rate(optimise, 1e-4)
    draws = Draws(0, "views", 0, here.device)
    if dataset.vocabulary is None:
        view = here.layout(torch.rand(BATCH, *dataset.shape))
    else:
        view = sample(dataset.vocabulary, BATCH, TOKENS, "cpu")
    part = Prepared((view,), torch.arange(BATCH) % len(dataset.classes), draws)
    return lambda: take_step(method, optimise, scaler, [part], here), count_trained(method)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "processor unknown"
    )


if __name__ == "__main__":
    main()
