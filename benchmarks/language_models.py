"""What parts of language models are worth, on the files of `text_files.py`: `language_models.py PART... --files FOLDER`.

gpt        the language model as second task of fine-tuning (weights 0 and 0.5), from random and from pre-trained weights; the
           latter also at the whole learning rate instead of a tenth
masked     15 and 40 % of the tokens masked; next-sentence prediction on and off; fine-tuned at both rates, frozen; random weights
xlm        CLM, MLM, MLM and TLM on translations: labels in English, tests in four other languages, retrieval of translations
partners   the same tests for a bag of tokens, pre-trained by SimCLR with translations as each other's views (`method=micle`)
sib200     the same for other sentences, by topic, with the pairs of `partners`; Russian and Spanish have none
spanish    perplexity of a small language alone, and beside a related one

Each command is printed, runs in a process of its own and is not repeated where its folder is finished; every arm of a part takes
as many steps. A table closes each part.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

SMALL = "backbone=transformer backbone.dim=128 backbone.layers=2 backbone.heads=2 head=linear augment=whole_text schedule=text"
PRETRAIN = (
    "schedule.pretrain.batch_size=64 schedule.pretrain.optimiser.lr=1e-3 schedule.pretrain.epochs=100 "
    "schedule.pretrain.evaluate_every=0 runtime.threads=1"
)
DEBIAN = f"dataset=texts dataset.root=debian.csv dataset.columns.split=split {SMALL} {PRETRAIN} schedule.pretrain.max_steps=600"
LABELS = "budget=balanced budget.labels=200"
CAUSAL = "method=causal_lm backbone.causal=true backbone.pooling=last augment.supervised.drop.p=0"
MASKED = {
    "15 %": "method=masked_lm method.mask_ratio=0.15 method.next_sentence=false",
    "40 %": "method=masked_lm method.mask_ratio=0.4 method.next_sentence=false",
    "15 %, next sentence": "method=masked_lm method.mask_ratio=0.15 method.next_sentence=true",
}
MASKED_PARTS = {
    "all": ("fine-tuned", "stage.train=all"),
    "whole_rate": ("fine-tuned at the whole rate", "stage.train=all schedule.supervised.pretrained_rate=1"),
    "head": ("frozen", "stage.train=head"),
}
SENTENCES = "dataset.sentences=' ¶ ' backbone.segments=true backbone.norm=post backbone.norm_eps=1e-12"
PAIRS = (
    "dataset=parallel dataset.root=debian_languages.csv dataset.columns.split=split dataset.pairs=debian_pairs.csv "
    f"dataset.languages=[en,it,da,de,fr] dataset.tokenizer.vocabulary=16000 {SMALL} {PRETRAIN} backbone.languages=true "
    "schedule.pretrain.max_steps=1500 schedule.supervised.max_steps=600 budget=all method=cross_lingual method.transform=false"
)
ONE_CORRUPTION = "stage.text_corruptions.truncation=[0.5] " + " ".join(  # one has to be measured
    f"stage.text_corruptions.{name}=[]"
    for name in ("typos", "upper_case", "lower_case", "random_case", "deleted_words")
)
READ = f"stage.translations=debian_pairs_held_out.csv {ONE_CORRUPTION} runtime.threads=1"
MIXTURES = {
    "CLM": "method.clm=1 method.mlm=0 method.tlm=0",
    "MLM": "method.clm=0 method.mlm=1 method.tlm=0",
    "MLM and TLM": "method.clm=0 method.mlm=1 method.tlm=1",
}


def run(folder: str, command: str) -> dict:
    """The result of a command, which writes to this folder below `outputs`."""
    path = Path("outputs") / folder
    if not (path / "result.json").exists():
        words = [*_split(command), f"hydra.run.dir={path}"]
        print("ssl-cli", shlex.join(words), flush=True)
        subprocess.run([sys.executable, "-m", "ssl_cli", *words], check=True)
    return json.loads((path / "result.json").read_text())


def _split(command: str) -> list[str]:
    """Words as a shell has them; Hydra needs its own quotes around a value that begins with a space."""
    parts = [word.partition("=") for word in shlex.split(command)]
    return [f"{key}{given}'{value}'" if value.startswith(" ") else key + given + value for key, given, value in parts]


def show(title: str, found: dict[str, list[float]]) -> None:
    """Mean and standard deviation of each arm."""
    print(f"\n{title}")
    for arm, numbers in found.items():
        spread = f" ± {100 * statistics.stdev(numbers):.1f}" if len(numbers) > 1 else ""
        print(f"  {arm:44} {100 * statistics.mean(numbers):5.1f}{spread}")


def gpt(seeds: list[int]) -> None:
    found: dict[str, list[float]] = {}
    for seed in seeds:
        own = f"{DEBIAN} {LABELS} {CAUSAL} seed={seed}"
        run(f"gpt/{seed}", f"pretrain {own}")
        for weight in (0, 0.5):
            for start, words in (("random", "baseline"), ("pre-trained", f"finetune checkpoint=outputs/gpt/{seed}")):
                result = run(f"gpt_{start}_{weight}/{seed}", f"{words} {own} stage.language_model={weight}")
                found.setdefault(f"{start} weights, λ {weight}", []).append(result["test_accuracy"])
        tuned = (
            f"finetune checkpoint=outputs/gpt/{seed} {own} stage.language_model=0 schedule.supervised.pretrained_rate=1"
        )
        whole = run(f"gpt_whole_rate/{seed}", tuned)["test_accuracy"]
        found.setdefault("pre-trained weights at the whole rate, λ 0", []).append(whole)
    show("Causal language model, 200 labels: test accuracy in %", found)


def masked(seeds: list[int]) -> None:
    found: dict[str, list[float]] = {}
    for seed in seeds:
        given = f"baseline {DEBIAN} {LABELS} {SENTENCES} {MASKED['15 %']} seed={seed}"
        found.setdefault("random weights, fine-tuned", []).append(run(f"masked_random/{seed}", given)["test_accuracy"])
        for number, (name, words) in enumerate(MASKED.items()):
            own = f"{DEBIAN} {LABELS} {SENTENCES} {words} seed={seed}"
            run(f"masked_{number}/{seed}", f"pretrain {own}")
            for part, (kind, more) in MASKED_PARTS.items():
                given = f"finetune checkpoint=outputs/masked_{number}/{seed} {own} {more}"
                result = run(f"masked_{number}_{part}/{seed}", given)
                found.setdefault(f"{name}, {kind}", []).append(result["test_accuracy"])
    show("Masked language model, 200 labels: test accuracy in %", found)


def xlm(seeds: list[int]) -> None:
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for number, (name, words) in enumerate(MIXTURES.items()):
            own = f"{PAIRS} {words} seed={seed}"
            run(f"xlm_{number}/{seed}", f"pretrain {own}")
            for part in ("all", "head"):
                folder = f"xlm_{number}_{part}/{seed}"
                kind = "frozen" if part == "head" else "fine-tuned"
                result = run(folder, f"finetune checkpoint=outputs/xlm_{number}/{seed} {own} stage.train={part}")
                for language, numbers in result["languages"].items():
                    found.setdefault(f"{name}, {kind}, {language}", []).append(numbers["accuracy"])
                read = f"evaluate stage.run=outputs/{folder} {READ}"
                row = run(f"xlm_{number}_{part}_read/{seed}", read)["rows"][0]
                for pair, numbers in row["translations"].items():
                    found.setdefault(f"{name}, {kind}, {pair}", []).append(numbers["mean"])
    show("English labels, read in other languages; nearest is the translation: in %", found)


BAG = (
    "compare dataset=parallel dataset.columns.split=split dataset.pairs=debian_pairs.csv dataset.tokenizer.vocabulary=16000 "
    "augment=text backbone=bag head=linear schedule=text method=micle method.temperature=0.3 budget=all "
    "schedule.pretrain.epochs=8 schedule.pretrain.evaluate_every=0 schedule.supervised.max_steps=2000 runtime.threads=1"
)


def partners(seeds: list[int]) -> None:
    own = f"{BAG} dataset.root=debian_languages.csv dataset.languages=[en,it,da,de,fr]"
    _partners("partners", own, seeds, READ)


def sib200(seeds: list[int]) -> None:
    _partners("sib200", f"{BAG} dataset.root=sib200.csv dataset.languages=[en,it,da,de,fr]", seeds, "")


def _partners(name: str, command: str, seeds: list[int], more: str) -> None:
    """A comparison a seed, and what each of its arms makes of every language."""
    found: dict[str, list[float]] = {}
    for seed in seeds:
        result = run(f"{name}/{seed}", f"{command} seed={seed}")
        for row in result["rows"]:
            for language, numbers in (row.get("languages") or {}).items():
                found.setdefault(f"{row['arm']}, {language}", []).append(numbers["accuracy"]["mean"])
        if not more:
            continue
        read = f"evaluate stage.run=outputs/{name}/{seed} {more}"
        for row in run(f"{name}_read/{seed}", read)["rows"]:
            for pair, numbers in row.get("translations", {}).items():
                found.setdefault(f"{row['arm']}, {pair}", []).append(numbers["mean"])
    show("English labels, read in other languages, by a bag of tokens: in %", found)


def spanish(seeds: list[int]) -> None:
    print("\nPerplexity of held-out Spanish texts")
    arms = {
        "with Italian, by shares": "dataset.root=spanish_italian.csv method.language_power=1",
        "with Italian, as often": "dataset.root=spanish_italian.csv method.language_power=0",
        "alone": "dataset.root=spanish.csv",
    }
    for seed in seeds:
        for number, (arm, words) in enumerate(arms.items()):
            # One tokenizer for all, without which perplexities cannot be compared.
            given = f"dataset.tokenizer.path=outputs/spanish_0/{seed}/tokenizer.json" if number else ""
            own = (
                f"pretrain dataset=texts {words} dataset.columns.language=language {SMALL} {PRETRAIN} {CAUSAL} "
                f"method.held_out=0.1 schedule.pretrain.max_steps=400 {given} seed={seed}"
            )
            print(f"  {arm:24} {run(f'spanish_{number}/{seed}', own)['perplexity']['held_out_perplexity_es']:.0f}")


PARTS = {"gpt": gpt, "masked": masked, "xlm": xlm, "partners": partners, "sib200": sib200, "spanish": spanish}


def main() -> None:
    """Run the parts that are asked for."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("parts", nargs="+", choices=PARTS)
    asked.add_argument("--files", type=Path, default=Path(), help="the folder of text_files.py, where outputs go too")
    asked.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = asked.parse_args()
    os.chdir(options.files)
    for part in options.parts:
        PARTS[part](options.seeds)


if __name__ == "__main__":
    main()
