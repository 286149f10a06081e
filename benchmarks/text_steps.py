"""A masked language model's step in real tokens a second, three ways: `make bench`, or `python benchmarks/text_steps.py`.

ssl_cli        this project's step: batch, packing, masks, forward, loss, backward, optimiser, as `runtime=auto` decides
bare           forward, loss, backward and optimiser of the same network on packed and masked texts that are ready
transformers   BertForMaskedLM of the same size with DataCollatorForLanguageModeling, a DataLoader and fused AdamW, in a process
               of its own (needs `pip install '.[bench]'`)

A real token is one of a text: neither padding nor what is computed for it counts. All three see the same texts, use the same
precision and the same number of threads, and take turns; each number is the median over the rounds. Texts have the lengths of
package descriptions (a log-normal distribution fitted to 5,917 English ones of Debian 12 in tokens of a vocabulary of 8,000) and
random tokens, or are those of `dataset=docstrings`.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
RESULTS = HERE / "text_results.json"
VOCABULARY, DIM, LAYERS, HEADS, MASKED = 8000, 256, 4, 4, 0.15
SPECIAL = 6  # ids below are special tokens
LOG_MEAN, LOG_DEVIATION = 4.506, 0.617  # of the number of tokens of a description
TARGETS = {"transformers": 3.0, "bare": 1 / 1.15}  # tokens a second of ssl_cli over those of the arm, at least
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Steps = Callable[[int], int]  # takes so many steps; how many real tokens they had


# The texts


def write_texts(path: Path, kind: str, count: int = 8192) -> None:
    """The tokens of some texts, one after the other, and their lengths."""
    if kind == "docstrings":
        from ssl_cli.config.compose import from_overrides
        from ssl_cli.data.dataset import load

        packed = load(from_overrides("dataset=docstrings", *NETWORK).dataset).train.inputs.packed()
        np.savez(path, flat=packed.flat.numpy(), lengths=packed.lengths.numpy())
        return
    source = np.random.default_rng(0)
    lengths = np.exp(source.normal(LOG_MEAN, LOG_DEVIATION, count)).round().astype(np.int64).clip(1)
    rank = np.exp(
        source.uniform(0, np.log(VOCABULARY - SPECIAL), lengths.sum())
    )  # frequencies in proportion to 1 / rank
    np.savez(path, flat=(SPECIAL + rank - 1).astype(np.int32), lengths=lengths)


# The arms, each in a process that reads how many steps to take


NETWORK = (
    "stage=pretrain", "method=masked_lm", f"method.mask_ratio={MASKED}", "augment=whole_text", "backbone=transformer",
    f"backbone.dim={DIM}", f"backbone.layers={LAYERS}", f"backbone.heads={HEADS}", "head.keep=0", "schedule=text",
)  # fmt: skip


def own_arms(texts: Path, length: int, size: int, threads: int) -> dict[str, Steps]:
    from ssl_cli.config.compose import from_overrides
    from ssl_cli.data.batches import Batches
    from ssl_cli.data.tokens import Tokens, Vocabulary
    from ssl_cli.data.types import Dataset, Split
    from ssl_cli.methods.parts.language_model import mask_tokens
    from ssl_cli.stages.networks import pretraining_method, views_of
    from ssl_cli.training.device import machine
    from ssl_cli.training.optim import optimiser
    from ssl_cli.training.step import prepare, take_step

    config = from_overrides(
        *NETWORK, "dataset=texts", "budget=all", f"augment.pretrain.max_length={length}", f"backbone.max_length={length}",
        f"augment.supervised.max_length={length}", f"runtime.threads={threads}",
    )  # fmt: skip
    here = machine(config.runtime)
    found = np.load(texts)
    lengths = torch.from_numpy(found["lengths"])
    inputs = Tokens(torch.from_numpy(found["flat"]), lengths.cumsum(0) - lengths, lengths)
    split = Split(inputs, torch.zeros(len(inputs), dtype=torch.int64))
    dataset = Dataset(split, split, ("a", "b"), name="texts", vocabulary=Vocabulary(VOCABULARY, *range(SPECIAL)))
    views = views_of(config, dataset, "pretrain")
    batches = Batches(inputs, None, None, size, "shuffle", 0)

    def new():
        method = here.place(pretraining_method(config, dataset)).train()
        return method, optimiser(method.parameter_groups(), config.schedule.pretrain.optimiser), here.scaler()

    method, optimise, scaler = new()
    done = 0

    def ours(count: int) -> int:
        nonlocal done
        for step in range(done, done + count):
            take_step(method, optimise, scaler, [prepare(batches, views, method, step, 0, here)], here)
        firsts = range(done, done + count)
        done += count
        here.wait()
        return sum(int((batches.at(step).inputs.lengths + 2).clamp(max=length).sum()) for step in firsts)

    other, optimise_other, _ = new()
    ready = []
    for step in range(8):
        part = prepare(batches, views, other, step, 0, here)
        view = part.views[0]
        chosen, seen = mask_tokens(view, other.vocabulary, MASKED, part.draws)
        where = chosen.flatten().nonzero()[:, 0]
        ready.append((replace(view, ids=seen), where, view.ids.flatten()[where], int(view.present.sum())))
    at = 0

    def bare(count: int) -> int:
        nonlocal at
        tokens = 0
        for _ in range(count):
            view, where, targets, real = ready[at % len(ready)]
            at, tokens = at + 1, tokens + real
            optimise_other.zero_grad(set_to_none=True)
            with here.autocast():
                states = other.backbone.states_at(view, where)
                loss = F.cross_entropy(other.output(states, other.backbone.embedding), targets)
            loss.backward()
            optimise_other.step()
        here.wait()
        return tokens

    return {"ssl_cli": ours, "bare": bare}


def their_arms(texts: Path, length: int, size: int, threads: int) -> dict[str, Steps]:
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertForMaskedLM, DataCollatorForLanguageModeling, PreTrainedTokenizerFast

    from ssl_cli.config.compose import from_overrides
    from ssl_cli.training.device import machine

    here = machine(from_overrides(*NETWORK, "dataset=texts", "budget=all", f"runtime.threads={threads}").runtime)
    names = {"pad": "[PAD]", "mask": "[MASK]", "cls": "[CLS]", "sep": "[SEP]", "unk": "[UNK]"}
    words = [*names.values(), *map(str, range(len(names), VOCABULARY))]
    whole = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=whole, **{f"{key}_token": name for key, name in names.items()})
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED)
    found = np.load(texts)
    parts = np.split(found["flat"], found["lengths"].cumsum()[:-1])
    rows = [{"input_ids": [2, *part[: length - 2].tolist(), 3]} for part in parts]
    torch.manual_seed(0)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=VOCABULARY, hidden_size=DIM, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
            intermediate_size=4 * DIM, max_position_embeddings=length, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    ).to(here.device).train()  # fmt: skip
    optimise = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        while True:
            yield from torch.utils.data.DataLoader(rows, size, shuffle=True, collate_fn=collate, drop_last=True)  # pyright: ignore[reportArgumentType]

    source = batches()

    def theirs(count: int) -> int:
        tokens = 0
        for _ in range(count):
            batch = {key: value.to(here.device) for key, value in next(source).items()}
            optimise.zero_grad()
            with here.autocast():
                loss = model(**batch).loss
            loss.backward()
            optimise.step()
            tokens += int(batch["attention_mask"].sum())
        here.wait()
        return tokens

    return {"transformers": theirs}


def serve(arms: dict[str, Steps]) -> None:
    """Each line that is read names an arm, a number of steps and a clock; the answer is its real tokens a second."""
    print("ready", flush=True)
    for line in sys.stdin:
        name, count, clock = line.split()
        now = CLOCKS[clock]
        began = now()
        tokens = arms[name](int(count))
        print(tokens / (now() - began), flush=True)


# The run


class Process:
    """A process with some arms, which waits until it is asked."""

    def __init__(self, which: str, *arguments: object):
        self.process = subprocess.Popen(
            [sys.executable, __file__, which, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self.answer() != "ready":
            raise SystemExit(f"{which}: could not start")

    def answer(self) -> str:
        return self.process.stdout.readline().strip()

    def ask(self, arm: str, steps: int, clock: str) -> float:
        self.process.stdin.write(f"{arm} {steps} {clock}\n")
        self.process.stdin.flush()
        return float(self.answer())


def measured(
    kind: str, length: int, size: int, steps: int, rounds: int, threads: int, clock: str
) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts.npz"
        write_texts(texts, kind)
        own = Process("own", texts, length, size, threads)
        arms = {"ssl_cli": own, "bare": own}
        if importlib.util.find_spec("transformers"):
            arms["transformers"] = Process("theirs", texts, length, size, threads)
        else:
            print("transformers is not installed, so it is left out: pip install '.[bench]'")
        speeds: dict[str, list[float]] = {arm: [] for arm in arms}
        for arm, process in arms.items():
            process.ask(arm, 1, clock)
        for _ in range(rounds):
            for arm, process in arms.items():
                speeds[arm].append(process.ask(arm, steps, clock))
        for process in set(arms.values()):
            process.process.stdin.close()
            process.process.wait()
    return [
        {
            "texts": kind,
            "longest": length,
            "batch_size": size,
            "threads": threads,
            "rounds": rounds,
            "clock": clock,
            "load": round(os.getloadavg()[0], 1),
            "arm": arm,
            "tokens_per_second": round(statistics.median(found)),
            "lowest": round(min(found)),
            "highest": round(max(found)),
            "ratio": round(statistics.median(o / f for o, f in zip(speeds["ssl_cli"], found, strict=True)), 3),
        }
        for arm, found in speeds.items()
    ]


def show(rows: list[dict[str, object]]) -> None:
    table = Table("texts", "longest", "arm", "real tokens a second", "lowest–highest", "ssl_cli ÷ arm", "asked", "load")
    for row in rows:
        asked = TARGETS.get(str(row["arm"]))
        table.add_row(
            str(row["texts"]), str(row["longest"]), str(row["arm"]), f"{row['tokens_per_second']:,}",
            f"{row['lowest']:,}–{row['highest']:,}", f"{row['ratio']:.2f}", f"≥ {asked:.2f}" if asked else "",
            f"{row['load']:.1f}",
        )  # fmt: skip
    Console(width=130).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--texts", choices=["descriptions", "docstrings"], nargs="+", default=["descriptions", "docstrings"]
    )
    parser.add_argument("--longest", type=int, nargs="+", default=[128, 256], help="tokens of a text; more are cut")
    parser.add_argument("--batch", type=int, default=256, help="texts")
    parser.add_argument("--steps", type=int, default=2, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: seconds of the processor, on a busy machine"
    )
    asked = parser.parse_args()
    rows = [
        row
        for kind in asked.texts
        for length in asked.longest
        for row in measured(kind, length, asked.batch, asked.steps, asked.rounds, asked.threads, asked.clock)
    ]
    show(rows)
    if len(sys.argv) == 1:
        RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] in (["own"], ["theirs"]):
        which, texts, *numbers = sys.argv[1:]
        make = own_arms if which == "own" else their_arms
        serve(make(Path(texts), *map(int, numbers)))
    else:
        main()
