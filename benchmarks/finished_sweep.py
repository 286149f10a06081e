"""A sweep of 72 jobs that looks finished, for measuring how long the command takes that asks for it again."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

from ssl_cli.config.build import plain
from ssl_cli.config.compose import composed_jobs
from ssl_cli.runs.identity import record, recorded
from ssl_cli.stages.recognise import recognised

WORDS = ("stage=baseline,finetune", "budget.labels=20,50,100,200,500,1000", "seed=0,1,2,3,4,5")


def make_finished_sweep(folder: Path) -> list[str]:
    """Train once, and copy its numbers into a run for each job of a sweep below `folder`/outputs.

    Returns:
        the words of the sweep.
    """
    trained = folder / "outputs/trained"
    words = ["baseline", "schedule=smoke", "runtime.threads=1", f"hydra.run.dir={trained}"]
    subprocess.run([sys.executable, "-m", "ssl_cli", *words], cwd=folder, capture_output=True, check=True)
    result, known = json.loads((trained / "result.json").read_text()), recorded(trained)
    assert known is not None
    for number, job in enumerate(composed_jobs([*WORDS, f"outputs={folder / 'outputs'}"], multirun=True)):
        run = folder / f"outputs/sweeps/first/{number}"
        run.mkdir(parents=True)
        asked = recognised(job.config, job.words, known.stamps)
        assert asked is not None
        record(run, [asked], known.stamps)
        (run / "config.yaml").write_text(yaml.safe_dump(plain(job.config), sort_keys=False))
        labels, seed, stage = job.config.budget.labels, job.config.seed, job.config.stage
        about = {"stage": stage.name, "arm": stage.arm(job.config), "labels": labels, "seed": seed}
        accuracy = round(0.5 + 0.001 * number + 0.0004 * labels, 4)
        (run / "result.json").write_text(json.dumps({**result, **about, "test_accuracy": accuracy}))
        (run / "run.json").write_text((trained / "run.json").read_text())
    return ["-m", *WORDS]
