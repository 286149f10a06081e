"""All pre-training methods by the same rules."""

import json
import logging
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from ssl_cli.config.schema import Config, Schedule
from ssl_cli.data.types import Dataset
from ssl_cli.report import plots, table
from ssl_cli.report.numbers import over_seeds
from ssl_cli.runs.files import quoted, write
from ssl_cli.runs.own import damaged, own_object
from ssl_cli.runs.result import Result, finished_runs
from ssl_cli.runs.run import Run
from ssl_cli.stages.benchmark_settings import BenchmarkStage
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.finetune_settings import SupervisedStage
from ssl_cli.stages.fit import open_dataset
from ssl_cli.stages.identity import joint_identity
from ssl_cli.stages.pretrain import check_sources, material, pretrain
from ssl_cli.stages.pretrain_settings import PretrainStage
from ssl_cli.stages.probe import probe
from ssl_cli.stages.probe_settings import ProbeStage
from ssl_cli.stages.speed import endless
from ssl_cli.training.device import Machine, machine_of
from ssl_cli.training.distributed import taken_together
from ssl_cli.training.progress import Clock
from ssl_cli.training.step import Recipe, Steps

log = logging.getLogger("ssl_cli")

WARM_UP, TIMED = 3, 9  # steps
COSTS = ("epochs", "seconds")  # of pre-training
MEASURES = ("knn", "linear", "linear_before", "finetuned")


@dataclass(frozen=True, kw_only=True)
class BenchmarkResult(Result):
    """Of all methods: `rows` has one a method, over `seeds` seeds."""

    seeds: int
    equal: str
    rows: list[dict[str, Any]]


def benchmark(config: Config, run: Run) -> dict[str, Any]:
    """Pre-train, probe and fine-tune every method for every seed; the numbers of the run."""
    if run.result:
        return run.result
    stage = config.stage_as(BenchmarkStage)
    for method in stage.methods.values():  # before anything is trained
        check_sources(replace(config, method=method))
    here = machine_of(run, config.runtime)
    dataset = open_dataset(config, run)
    found: list[dict[str, Any]] = []
    baselines: list[dict[str, Any]] = []
    for seed in range(config.seed, config.seed + stage.seeds):
        seeded = replace(config, seed=seed, head=replace(config.head, keep=0))
        inside = run.child(f"seed{seed}", seeded)
        labels_only = replace(seeded, stage=SupervisedStage("baseline"))
        result = finetune(labels_only, inside.child("labels-only", labels_only))
        baselines.append(result)
        found.append({"method": "labels only", "seed": seed, "finetuned": result["test_accuracy"]})
        untrained: list[dict[str, Any]] = []
        for name, method in stage.methods.items():
            entrant = replace(seeded, method=method, schedule=_schedule(config, name))
            played, random = _played(entrant, inside.child(name, entrant), dataset, here)
            found.append(played)
            untrained = [random]  # the same whichever the method
        found += untrained
    parts = sorted(found_result["identity"] for _, found_result in finished_runs(run.folder))  # of all runs inside
    rows, last = _rows(found), baselines[-1]
    plots.save_benchmark(rows, run.folder / "benchmark.png")
    return run.finish(
        BenchmarkResult(
            identity=joint_identity(config, parts),
            backbone_parameters=last["backbone_parameters"],
            labels=last["labels"],
            test_accuracy=None,  # a benchmark has many, and the best of them would be selected on test data
            images_per_second=None,
            environment=here.environment(),
            protocol=last["protocol"],
            caveats=last["caveats"],
            seeds=stage.seeds,
            equal=stage.equal,
            rows=rows,
        )
    )


def _schedule(config: Config, name: str) -> Schedule:
    """That of an entrant, at the rate that it wants."""
    phase = config.schedule.pretrain
    rate = config.stage_as(BenchmarkStage).rates.get(name, phase.optimiser.lr)
    return replace(config.schedule, pretrain=replace(phase, optimiser=replace(phase.optimiser, lr=rate)))


def _played(config: Config, run: Run, dataset: Dataset, here: Machine) -> tuple[dict[str, Any], dict[str, Any]]:
    """A method's numbers for a seed, and those of random weights, which its probe has too."""
    stage, schedule = config.stage_as(BenchmarkStage), config.schedule
    if stage.equal == "time":
        steps = _steps(config, run, dataset, here)
        schedule = replace(schedule, pretrain=replace(schedule.pretrain, epochs=steps, max_steps=steps, stop=None))
    settings = replace(config, schedule=schedule, stage=PretrainStage("pretrain"))
    inside = run.child("pretrain", settings)
    pretrained = pretrain(settings, inside)
    started = replace(config, checkpoint=inside.folder, init_from="random")
    probing = replace(started, stage=ProbeStage("probe", "all", stage.neighbours))
    layers = probe(probing, run.child("probe", probing))["layers"]
    tuning = replace(started, stage=SupervisedStage("finetune"))
    tuned = finetune(tuning, run.child("finetune", tuning), inside.folder)
    kept = {key: pretrained[key] for key in (*COSTS, "collapsed")}
    named = {"method": config.method.name, "seed": config.seed}
    return (
        {**named, **kept, **_probed(layers, "pretrained"), "finetuned": tuned["test_accuracy"]},
        {**named, "method": "random weights", **_probed(layers, "random")},
    )


def _probed(layers: list[dict[str, Any]], weights: str) -> dict[str, float]:
    """Of the backbone's last stage and of the one before it, which is often the better one."""
    stages = [row for row in layers if row["weights"] == weights and row["name"].startswith("backbone")]
    return {"knn": stages[-1]["knn"], "linear": stages[-1]["linear"], "linear_before": stages[-2]["linear"]}


def _steps(config: Config, run: Run, dataset: Dataset, here: Machine) -> int:
    """How many steps take the time that each method has, timed once and kept: a resumed benchmark uses the same.

    One thread's time is that of the processor, which other programs do not lengthen for the method that happens to be timed.
    """
    one_thread = here.device.type == "cpu" and here.threads == 1 and here.processes == 1
    now = time.process_time if one_thread else time.perf_counter
    kept = run.folder / "steps.json"
    known = own_object(kept, must_hold={"steps": int})
    if known is None:
        method, batches, views = material(config, dataset, run, here)
        recipe = Recipe(method, batches, views, endless(config.schedule.pretrain), here, config.seed)
        taken = []
        with taken_together(Steps(recipe, Clock({}))) as take:
            for step in range(WARM_UP + TIMED):
                began = now()
                take(step)
                here.wait()
                taken.append(now() - began)
        seconds = statistics.median(taken[WARM_UP:])
        steps = max(1, round(config.stage_as(BenchmarkStage).seconds / seconds))
        known = {"seconds_per_step": seconds, "steps": steps, "per_epoch": batches.steps_per_epoch}
        write(kept, json.dumps(known) + "\n")
        log.info("%s: %.0f ms a step, so %s steps", config.method.name, 1e3 * seconds, f"{steps:,}")
    if known["steps"] < 1:
        raise damaged(kept, "steps must be at least 1")
    return known["steps"]


def _rows(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a method, mean and spread over seeds of each measure that it has."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in found:
        groups[one["method"]].append(one)
    return [
        {
            "method": method,
            "seeds": [one["seed"] for one in group],
            "collapsed": [one["seed"] for one in group if one.get("collapsed")],
            **{key: statistics.mean(one[key] for one in group) if key in group[0] else None for key in COSTS},
            **{key: over_seeds([one[key] for one in group]) if key in group[0] else None for key in MEASURES},
        }
        for method, group in groups.items()
    ]


def closing(result: dict[str, Any], run: Run) -> None:
    """A line a method."""
    table.show_benchmark(result["rows"], f"{result['dataset']}, {result['labels']:,} labels, {result['backbone']}")
    place = quoted(run.folder)
    log.info(
        "Checkpoint selection: %s. Picture: %s/benchmark.png (%.0f s)", result["protocol"], place, result["seconds"]
    )
