"""What parts of language models are worth, on the files of `text_files.py`: `language_models.py PART... --files FOLDER`.

gpt        the language model as second task of fine-tuning (weights 0 and 0.5), from random and from pre-trained weights; the
           latter also at the whole learning rate instead of a tenth
masked     from random weights, and from the embeddings of a bag of tokens that SimCLR pre-trained for half a minute: these alone;
           15 and 40 % of the tokens masked; next-sentence prediction on and off; fine-tuned and frozen
xlm        MLM, MLM and TLM, CLM on translations, from the embeddings of a bag of them (`partners`) and these alone: labels in
           English, tests in four other languages, retrieval of translations
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
SENTENCES = "dataset.sentences=' ¶ ' backbone.segments=true"
MASKED = {
    "15 % masked": "method=masked_lm method.mask_ratio=0.15 method.next_sentence=false",
    "40 % masked": "method=masked_lm method.mask_ratio=0.4 method.next_sentence=false",
    "15 % masked, next sentence": "method=masked_lm method.mask_ratio=0.15 method.next_sentence=true",
}
WHOLE_RATE = "schedule.supervised.pretrained_rate=1"
BAG = "augment=text backbone=bag head=linear schedule=text schedule.pretrain.evaluate_every=0 method.temperature=0.3"
FIRST_BAG = (
    "pretrain dataset=texts dataset.root=debian.csv dataset.columns.split=split dataset.sentences=' ¶ ' "
    f"{BAG} backbone.dim=128 runtime.threads=1"
)
LANGUAGES = (
    "dataset=parallel dataset.columns.split=split dataset.pairs=debian_pairs.csv dataset.languages=[en,it,da,de,fr] "
    "dataset.tokenizer.vocabulary=16000 budget=all runtime.threads=1"
)
DESCRIPTIONS = "dataset.root=debian_languages.csv"
BAG_OF_PAIRS = f"{LANGUAGES} {BAG} method=micle schedule.pretrain.epochs=8"
PAIRS = (
    f"{LANGUAGES} {DESCRIPTIONS} {SMALL} {PRETRAIN} backbone.languages=true method=cross_lingual method.transform=false "
    "schedule.pretrain.max_steps=600 schedule.supervised.max_steps=600"
)
ONE_CORRUPTION = "stage.text_corruptions.truncation=[0.5] " + " ".join(  # one has to be measured
    f"stage.text_corruptions.{name}=[]"
    for name in ("typos", "upper_case", "lower_case", "random_case", "deleted_words")
)
READ = f"stage.translations=debian_pairs_held_out.csv {ONE_CORRUPTION} runtime.threads=1"
MIXTURES = {
    "MLM": "method.clm=0 method.mlm=1 method.tlm=0",
    "MLM and TLM": "method.clm=0 method.mlm=1 method.tlm=1",
    "CLM": "method.clm=1 method.mlm=0 method.tlm=0",
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

    def measure(arm: str, folder: str, command: str) -> None:
        found.setdefault(arm, []).append(run(folder, command)["test_accuracy"])

    after_the_bag = [(f"{name}, after the bag", words, True) for name, words in MASKED.items()]
    arms = [("15 % masked, after random weights", MASKED["15 % masked"], False), *after_the_bag]
    for seed in seeds:
        own = f"{DEBIAN} {LABELS} {SENTENCES} seed={seed}"
        bag = f"masked_bag/{seed}"
        run(bag, f"{FIRST_BAG} seed={seed}")
        measure("random weights", f"masked_random/{seed}", f"baseline {own} {MASKED['15 % masked']}")
        tuned = f"finetune checkpoint=outputs/{bag} {own} {MASKED['15 % masked']} {WHOLE_RATE}"
        measure("the bag's embeddings", f"masked_bag_tuned/{seed}", tuned)
        for number, (arm, words, from_bag) in enumerate(arms):
            start = f"outputs/{bag}" if from_bag else "random"
            run(f"masked_{number}/{seed}", f"pretrain {own} {words} init_from={start}")
            trained = f"finetune checkpoint=outputs/masked_{number}/{seed} {own} {words}"
            measure(arm, f"masked_{number}_tuned/{seed}", f"{trained} {WHOLE_RATE}")
            measure(f"{arm}, frozen", f"masked_{number}_frozen/{seed}", f"{trained} stage.train=head")
    show("Masked language model, 200 labels: test accuracy in %", found)


def xlm(seeds: list[int]) -> None:
    found: dict[str, list[float]] = {}

    def measure(arm: str, folder: str, seed: int, command: str) -> None:
        for language, numbers in run(f"{folder}/{seed}", command)["languages"].items():
            found.setdefault(f"{arm}, {language}", []).append(numbers["accuracy"])
        read = f"evaluate stage.run=outputs/{folder}/{seed} {READ}"
        for pair, numbers in run(f"{folder}_read/{seed}", read)["rows"][0]["translations"].items():
            found.setdefault(f"{arm}, {pair}", []).append(numbers["mean"])

    for seed in seeds:
        bag = f"xlm_bag/{seed}"
        run(bag, f"pretrain {BAG_OF_PAIRS} {DESCRIPTIONS} backbone.dim=128 seed={seed}")
        tuned = f"finetune checkpoint=outputs/{bag} {PAIRS} {MIXTURES['MLM']} seed={seed}"
        measure("the bag's embeddings", "xlm_bag_tuned", seed, tuned)
        for number, (arm, words) in enumerate(MIXTURES.items()):
            own = f"{PAIRS} {words} seed={seed}"
            run(f"xlm_{number}/{seed}", f"pretrain {own} init_from=outputs/{bag}")
            measure(arm, f"xlm_{number}_tuned", seed, f"finetune checkpoint=outputs/xlm_{number}/{seed} {own}")
    show("English labels, read in other languages; nearest is the translation: in %", found)


def partners(seeds: list[int]) -> None:
    _partners("partners", DESCRIPTIONS, seeds, READ)


def sib200(seeds: list[int]) -> None:
    _partners("sib200", "dataset.root=sib200.csv", seeds, "")


def _partners(name: str, texts: str, seeds: list[int], more: str) -> None:
    """A comparison a seed, and what each of its arms makes of every language."""
    found: dict[str, list[float]] = {}
    for seed in seeds:
        result = run(f"{name}/{seed}", f"compare {BAG_OF_PAIRS} {texts} schedule.supervised.max_steps=2000 seed={seed}")
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
