"""What every stage's settings are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from ssl_cli.config.schema import Config, Facts

Network = Literal["method", "classifier"]
Ending = Literal["pre-training", "classifier", "regression", "comparison", "table"]  # what a run of a stage ends in


@dataclass(frozen=True)
class TrainedPart:
    """What of a backbone is trained on labels.

    kind: all; head: nothing of it; last: its last `layers`; lora: matrices of a `rank` beside its weights, which count `alpha` /
        `rank` times.
    """

    kind: Literal["all", "head", "last", "lora"] = "all"
    layers: int = 0
    rank: int = 0
    alpha: float = 0.0


@dataclass(frozen=True)
class Stage:
    """The settings of one verb of the command line, in a module that does not import torch, beside its function.

    A subclass is named by a file in `conf/stage`, has a field for each setting that stands there, and says what the stage does
    as far as settings decide it.
    """

    name: str

    group: ClassVar[str] = "stage"
    function: ClassVar[str] = ""  # the import path of what carries it out: (config, run) → the numbers of the run
    ends_in: ClassVar[Ending] = "table"
    # Whether it only looks at finished runs: no data, no network, and no PyTorch.
    reads_runs_alone: ClassVar[bool] = False
    # Those of `batch_sizes` that count inputs with labels.
    labelled_batches: ClassVar[tuple[str, ...]] = ("schedule.supervised.batch_size",)

    @property
    def takes(self) -> tuple[str, ...]:
        """The keys that count for it, where it takes no others, or those of a finished run; empty: all."""
        return ()

    @property
    def instead(self) -> str:
        """Where it has what the other keys would say, where `takes` names some."""
        return "takes data, network and preprocessing from the run in stage.run"

    @property
    def phases(self) -> tuple[str, ...]:
        """The parts of `schedule` that it trains by; `pretrain` where it starts from a pre-training, found or new."""
        return ()

    @property
    def trains(self) -> bool:
        """Whether it trains something on the data set of the settings; a sweep looks for finished runs of such stages alone."""
        return bool(self.phases)

    @property
    def sees_labels(self) -> bool:
        """Whether it is trained or tested on labels; where it is not, the data need have none."""
        return True

    @property
    def takes_checkpoint(self) -> bool:
        """Whether `checkpoint` may name a finished pre-training to start from."""
        return "pretrain" in self.phases

    @property
    def trained_part(self) -> TrainedPart:
        """What it trains of the backbone of a classifier."""
        return TrainedPart()

    def problems(self, config: Config) -> Iterator[str]:
        """A sentence for each setting of the stage that cannot work with the others."""
        yield from ()

    @property
    def needs_test_inputs(self) -> bool:
        """Whether it measures accuracy on the test inputs of the data set."""
        return bool(set(self.phases) - {"pretrain"})

    def data_problems(self, config: Config, facts: Facts) -> Iterator[str]:
        """A sentence for each setting of the stage that cannot work with the data, as far as they are known.

        Asked again once data are read that the settings could not tell.
        """
        if facts.test == 0 and self.needs_test_inputs:
            yield (
                f"dataset={config.dataset.name}: has no test inputs, on which stage={self.name} measures accuracy; hold some out "
                "(such as dataset.test_fraction=0.2), or test the labels themselves (stage.folds=5, in stages that have it)"
            )

    def network_problems(self, config: Config, method: Any) -> Iterator[str]:
        """A sentence for each setting of the stage that does not fit a pre-training method that it builds."""
        yield from ()

    def networks(self, config: Config) -> Iterator[tuple[Network, Config, str]]:
        """What it builds: pre-training methods and classifiers, with the settings of each, and the key of its method."""
        if "pretrain" in self.phases and config.checkpoint == "auto":
            yield "method", config, "method"
        if set(self.phases) & {"supervised", "distill", "semi"}:
            yield "classifier", config, "method"

    def batch_sizes(self, config: Config) -> Iterator[tuple[str, int]]:
        """The settings that say how many inputs are in memory at a time while it trains, with their values."""
        for name in self.phases:
            if name != "pretrain" or config.checkpoint == "auto":
                yield f"schedule.{name}.batch_size", getattr(config.schedule, name).batch_size

    def arm(self, config: Config) -> str:
        """What a run is called in tables that set it beside others."""
        return self.name


def given_inputs_problems(run: Path | None, inputs: Path | None) -> Iterator[str]:
    """What is wrong with `stage.run` and `stage.inputs` of a stage that takes files to a finished network."""
    if run is None:
        yield "stage.run=null: must be the folder of a finished run, such as outputs/finetune/…"
    if inputs is None:
        yield "stage.inputs=null: must be a file, or a folder of files"
    elif not inputs.exists():
        yield f"stage.inputs={inputs}: there is no such file or folder"
