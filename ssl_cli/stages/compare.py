"""Everything side by side: what labels give alone, and what pre-training adds to them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssl_cli.config.consistency import projects
from ssl_cli.config.schema import BackboneComponent, Config, TextFacts, ViewsComponent
from ssl_cli.data.budget import choose
from ssl_cli.models.huggingface.reading import is_folder
from ssl_cli.report import table
from ssl_cli.report.comparison_page import write_comparison
from ssl_cli.runs.files import quoted
from ssl_cli.runs.result import Result, read_result
from ssl_cli.runs.run import Run
from ssl_cli.stages.classical import classical
from ssl_cli.stages.classical_settings import PENALTIES, ClassicalStage
from ssl_cli.stages.compare_settings import CompareStage
from ssl_cli.stages.feature_maps import save_feature_maps
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.finetune_settings import SupervisedStage
from ssl_cli.stages.fit import open_dataset
from ssl_cli.stages.identity import joint_identity
from ssl_cli.stages.simclr_v2_settings import SimCLRv2Stage
from ssl_cli.stages.start import check_start, find_or_pretrain
from ssl_cli.training.device import machine_of

log = logging.getLogger("ssl_cli")


@dataclass(frozen=True, kw_only=True)
class ComparisonResult(Result):
    """Of arms side by side: `rows` has one an arm, over `seeds` seeds; `pretrainings` are those behind them."""

    seeds: int
    classes: int
    rows: list[dict[str, Any]]
    softmax_slope_at_start: dict[str, list[float]]
    pretrainings: list[dict[str, Any]]


def compare(config: Config, run: Run) -> dict[str, Any]:
    """Every arm for every seed, then one table and one page; the numbers of the run."""
    if run.result:
        return run.result
    for _, arm in arms(config):  # before anything is trained
        if arm.stage.name == "finetune":
            check_start(arm)
    here = machine_of(run, config.runtime)
    dataset = open_dataset(config, run)  # what does not fit the data is said before the first arm is trained
    results, pretrainings = [], []
    chosen = choose(dataset, config.budget, config.seed)
    for seed in range(config.seed, config.seed + config.stage_as(CompareStage).seeds):
        seeded = replace(config, seed=seed)
        folder = f"seed{seed}"
        for name, arm in arms(seeded):
            start = None
            if arm.stage.name == "finetune":
                start = find_or_pretrain(seeded, run.child(folder, seeded), dataset, here)
                if not pretrainings:
                    save_feature_maps(config, run.folder, dataset, chosen, start, here)
                pretrainings.append(start)
            child = run.child(f"{folder}/{name}", arm)
            if arm.stage.name == "classical":
                results.append(classical(arm, child))
            else:
                results.append(finetune(arm, child, start))
    return side_by_side(config, run, results, pretrainings, _headline(config))


def side_by_side(
    config: Config,
    run: Run,
    results: list[dict[str, Any]],
    pretrainings: list[Path],
    headline: str,
) -> dict[str, Any]:
    """One table and one page of the arms of all seeds; the numbers of the run.

    Args:
        config, run: of the whole.
        results: of every arm of every seed.
        pretrainings: folders of those behind them.
        headline: how the name begins of the arm whose mean, over seeds that did not collapse if there are any, is the
            run's accuracy.
    """
    starts = list(dict.fromkeys(pretrainings))
    rows = table.rows(results)
    wanted = [row for row in rows if row["arm"].startswith(headline)]
    result = ComparisonResult(
        identity=joint_identity(config, (result["identity"] for result in results)),
        backbone_parameters=next(parameters for result in results if (parameters := result["backbone_parameters"])),
        labels=results[0]["labels"],
        test_accuracy=next((row["mean"] for row in wanted if not row["collapsed"]), wanted[0]["mean"]),
        images_per_second=(read_result(starts[0]) or {}).get("images_per_second"),
        environment=results[0]["environment"],
        protocol=results[0]["protocol"],
        caveats=list(dict.fromkeys(caveat for result in results for caveat in result["caveats"])),
        seeds=config.stage_as(CompareStage, SimCLRv2Stage).seeds,
        classes=results[0]["classes"],
        rows=rows,
        softmax_slope_at_start=_slopes(results),
        pretrainings=[{"folder": str(start), **_pretraining_numbers(read_result(start) or {})} for start in starts],
    )
    write_comparison(run.folder, run.described(result), results, starts)
    return run.finish(result)


def arms(config: Config) -> Iterator[tuple[str, Config]]:
    """The settings of every arm, by the name of its folder; the same budget, schedule and new classifier in each."""
    still = _without_randomness(config)
    plain = replace(config.augment, supervised=still)
    new, same = replace(config.head, keep=0), replace(config.head, keep="all")
    stage = config.stage_as(CompareStage)
    weight = stage.language_model
    baseline, tuned = (SupervisedStage(name, language_model=weight) for name in ("baseline", "finetune"))
    frozen_baseline, frozen_tuned = (SupervisedStage(name, "head") for name in ("baseline", "finetune"))

    if isinstance(config.dataset.arguments.get("facts"), TextFacts):
        for features, penalty in PENALTIES.items():
            classifier = ClassicalStage("classical", features, components=200, C=penalty)
            yield features, replace(config, stage=classifier, head=new)
    random = replace(config, backbone=_without_weights(config.backbone), head=new)
    yield "random-frozen", replace(random, stage=frozen_baseline)
    yield "labels-only", replace(random, stage=baseline, augment=plain)
    if still != config.augment.supervised:
        yield "labels-augmented", replace(random, stage=baseline)
    if random.backbone != config.backbone:
        yield "published-frozen", replace(config, stage=frozen_baseline, head=new)
        for name, part in stage.parts():
            yield f"published-{name}", replace(config, stage=replace(part, name="baseline"), head=new)
        yield "published-tuned", replace(config, stage=baseline, head=new)
    yield "pretrained-frozen", replace(config, stage=frozen_tuned, head=new)
    for name, part in stage.parts():
        yield f"pretrained-{name}", replace(config, stage=part, head=new)
    if projects(config) and not (
        config.checkpoint != "auto" and is_folder(config.checkpoint)
    ):  # which has no such head
        yield "same-head", replace(config, stage=tuned, head=same)
    layers = len(config.head.projection.arguments.get("widths", ()))
    if config.head.keep not in (0, "all", layers):
        yield f"keep-{config.head.keep}", replace(config, stage=tuned)
    yield "new-head", replace(config, stage=tuned, head=new)


def _without_weights(backbone: BackboneComponent) -> BackboneComponent:
    """The same network with random weights, where the settings name published ones."""
    if backbone.arguments.get("weights") is None:
        return backbone
    return replace(backbone, arguments={**backbone.arguments, "weights": None})


def _without_randomness(config: Config) -> ViewsComponent:
    """The supervised views with every step switched off."""
    arguments = config.augment.supervised.arguments
    off = {key: replace(step, p=0.0) if hasattr(step, "p") else step for key, step in arguments.items()}
    return replace(config.augment.supervised, arguments=off)


def _headline(config: Config) -> str:
    """Fine-tuning as `head.keep` says."""
    return SupervisedStage("finetune").arm(config)


def _slopes(results: list[dict[str, Any]]) -> dict[str, list[float]]:
    """By arm, a number a seed: how much gradient the head's softmax let through at first (see `heads.saturation`)."""
    found: dict[str, list[float]] = {}
    for result in results:
        if result.get("softmax_slope_at_start") is not None:
            found.setdefault(result["arm"], []).append(result["softmax_slope_at_start"])
    return found


def _pretraining_numbers(result: dict[str, Any]) -> dict[str, Any]:
    kept = ("seed", "run_id", "identity", "epochs", "steps", "loss", "spread", "collapsed", "knn_accuracy", "seconds")
    return {key: result.get(key) for key in kept}


def closing(result: dict[str, Any], run: Run) -> None:
    """The table of all arms."""
    table.show(result["rows"], f"{result['dataset']}, {result['labels']:,} labels, {result['backbone']}")
    table.show_languages(result["rows"], f"{result['dataset']}, {result['labels']:,} labels, {result['backbone']}")
    log.info("Checkpoint selection: %s.", result["protocol"])
    for caveat in result["caveats"]:
        log.info("Note: %s.", caveat)
    collapsed = [str(one["seed"]) for one in result["pretrainings"] if one["collapsed"]]
    if collapsed:
        log.info("Collapsed in pre-training, counted apart: seed %s.", ", ".join(collapsed))
    log.info("Report: %s/report.html (%.0f s)", quoted(run.folder), result["seconds"])


def next_steps(config: Config, result: dict[str, Any], run: Run) -> Iterator[tuple[str, str]]:
    """Vary the number of labels."""
    labels, fewest = result["labels"], result["classes"]
    counts = sorted({count for count in (labels // 4, labels // 2, labels) if count >= fewest})
    if config.budget.kind in ("balanced", "random", "first") and len(counts) > 1:
        yield run.command("-m", f"budget.labels={','.join(map(str, counts))}"), "what each label buys"
