"""Folders of finished runs as a reader of runs finds them, written without training anything."""

import base64
import json
from pathlib import Path
from typing import Any

import yaml

from ssl_cli.runs.result import FORMAT

LABELS_ONLY, PRETRAINED = "labels only, with augmentation", "pre-trained, new head"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SETTINGS = {
    "dataset": {"name": "synthetic", "facts": {"inputs": 256, "unlabelled": 0}},
    "schedule": {"name": "smoke", "pretrain": {"epochs": 2, "max_steps": None}},
}


def write_run(
    folder: Path, accuracy: float | None = 0.5, arm: str = LABELS_ONLY, labels: int = 20, seed: int = 0,
    stage: str = "baseline", inputs: int = 100, words: tuple[str, ...] = (), settings: dict[str, Any] | None = None,
    classes: tuple[str, ...] = ("cat", "dog"), **result,
) -> Path:  # fmt: skip
    """A classifier that was tested on `inputs` inputs, asked for by its own words and `words`; `settings` by their groups."""
    folder.mkdir(parents=True)
    own = {"seed": seed, "stage": {"name": stage}, "budget": {"kind": "balanced", "labels": labels}}
    (folder / "config.yaml").write_text(yaml.safe_dump({**SETTINGS, **own, **(settings or {})}))
    command = [
        f"stage={stage}",
        "dataset=synthetic",
        "schedule=smoke",
        f"budget.labels={labels or 20}",
        f"seed={seed}",
        *words,
    ]
    born = {"run_id": folder.name, "command": command, "began": "2026-01-01T00:00:00+00:00", "folder": str(Path.cwd())}
    (folder / "run.json").write_text(json.dumps(born))
    share = inputs // len(classes)
    numbers = {
        "format": FORMAT, "run_id": folder.name, "ends_in": "classifier", "stage": stage, "arm": arm, "seed": seed,
        "dataset": "synthetic", "backbone": "small", "identity": folder.name, "labels": labels, "test_accuracy": accuracy,
        "macro_f1": accuracy, "classes": len(classes), "seconds": 12.5, "backbone_parameters": 1000, "images_per_second": 9.5,
        "pretraining": {"collapsed": False} if "pre-trained" in arm else None, "caveats": [],
        "per_class": [{"class": name, "labels": 10, "inputs": share, "accuracy": accuracy} for name in classes],
        "finished": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps({**numbers, **result}))
    (folder / "labels.csv").write_text("item,label,class,part\n0,0,cat,train\n")
    for name in ("confusion.png", "mistakes.png"):
        (folder / name).write_bytes(PNG)
    return folder


def write_sweep(
    root: Path, budgets: tuple[int, ...] = (20, 40, 80), seeds: int = 6, more: float = 0.05, **kwargs
) -> Path:
    """Two arms with every number of labels and every seed; the second is right `more` often, and differs a little by seed."""
    for arm, stage, better in ((LABELS_ONLY, "baseline", 0.0), (PRETRAINED, "finetune", more)):
        for place, labels in enumerate(budgets):
            for seed in range(seeds):
                accuracy = 0.4 + 0.1 * place + better + 0.01 * seed + (0.004 * (seed % 3) if better else 0)
                write_run(root / f"{stage}-{labels}-{seed}", accuracy, arm, labels, seed, stage, **kwargs)
    return root
