"""SimCLRv2's three steps, and what to compare them with (Chen et al., 2020b)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ssl_cli.config.consistency import projects
from ssl_cli.config.schema import Config
from ssl_cli.runs.run import Run
from ssl_cli.stages.compare import closing, side_by_side
from ssl_cli.stages.distill import distill
from ssl_cli.stages.distill_settings import DistillStage
from ssl_cli.stages.finetune import finetune
from ssl_cli.stages.finetune_settings import SupervisedStage
from ssl_cli.stages.fit import open_dataset
from ssl_cli.stages.simclr_v2_settings import SimCLRv2Stage
from ssl_cli.stages.start import check_start, find_or_pretrain
from ssl_cli.training.device import machine_of

__all__ = ["closing", "simclr_v2"]  # it ends in a table as `compare` does

MIDDLE = "big-middle"  # its classifier is the first teacher
LABELS_ONLY, TUNED = SupervisedStage("baseline"), SupervisedStage("finetune")


def simclr_v2(config: Config, run: Run) -> dict[str, Any]:
    """Pre-train the big network, fine-tune it in four ways, distil it into itself and that into the student.

    Raises:
        ConfigError: the pre-training asked for does not fit.
    """
    if run.result:
        return run.result
    check_start(config)
    here = machine_of(run, config.runtime)
    results, pretrainings = [], []
    for seed in range(config.seed, config.seed + config.stage_as(SimCLRv2Stage).seeds):
        seeded = replace(config, seed=seed)
        inside = run.child(f"seed{seed}", seeded)
        start = find_or_pretrain(seeded, inside, open_dataset(config, run), here)
        pretrainings.append(start)
        for name, arm_config in tuned_arms(seeded):
            result = finetune(arm_config, inside.child(name, arm_config), start)
            results.append(named(result, name))
        teacher = inside.folder / MIDDLE
        for name, arm_config in distilled_arms(seeded, teacher):
            begins = start if arm_config.stage_as(DistillStage).init == "pretrained" else None
            results.append(named(distill(arm_config, inside.child(name, arm_config), begins), name))
    return side_by_side(config, run, results, pretrainings, "small: distilled")


def tuned_arms(config: Config) -> Iterator[tuple[str, Config]]:
    """What is trained on labels, by the name of its folder. All arms see the same labels through the same views."""
    new, same = replace(config.head, keep=0), replace(config.head, keep="all")
    small = replace(config, backbone=config.stage_as(SimCLRv2Stage).student, head=new)
    yield "small-labels-only", replace(small, stage=LABELS_ONLY)
    yield "big-labels-only", replace(config, stage=LABELS_ONLY, head=new)
    yield "big-linear-probe", replace(config, stage=replace(TUNED, train="head"), head=new)
    if config.head.keep != 0:
        yield "big-new-head", replace(config, stage=TUNED, head=new)
    if config.head.keep != "all" and projects(config):
        yield "big-same-head", replace(config, stage=TUNED, head=same)
    yield MIDDLE, replace(config, stage=TUNED)


def distilled_arms(config: Config, teacher: Path) -> Iterator[tuple[str, Config]]:
    """The fine-tuned network into itself, then that into the small student, which begins at random."""
    own = config.stage_as(SimCLRv2Stage)
    stage = DistillStage("distill", teacher, own.teacher_input, "pretrained", own.self_temperature, alpha=1.0)
    yield "big-distilled", replace(config, stage=stage)
    second = replace(stage, teacher=teacher.parent / "big-distilled", init="random", temperature=own.temperature)
    yield (
        "small-distilled",
        replace(config, stage=second, backbone=own.student, head=replace(config.head, keep=0)),
    )


def named(result: dict[str, Any], name: str) -> dict[str, Any]:
    """The result of an arm by the name of its folder, called by the size of its network too."""
    size, _, _ = name.partition("-")
    return {**result, "arm": f"{size}: {result['arm']}"}
