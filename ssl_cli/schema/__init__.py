"""The types of every setting. Values live in `conf/`; there are no defaults here.

A type may carry an interval (`Annotated[float, "(0, 1]"]`) that `ssl_cli.config` checks. This module imports neither
torch nor OmegaConf, so that a misspelt key is answered at once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ssl_cli.schema.basics import (
    Amount,
    BackboneComponent,
    Component,
    Count,
    DatasetComponent,
    Degrees,
    HeadComponent,
    MethodComponent,
    NotNegative,
    Part,
    Positive,
    Range,
    Shape,
    ViewsComponent,
)
from ssl_cli.schema.data import Budget, Facts
from ssl_cli.schema.networks import Head, Negatives
from ssl_cli.schema.stages import (
    CLASSIFIERS,
    CompareStage,
    DistillStage,
    EvaluateStage,
    FixMatch,
    LeagueStage,
    PretrainStage,
    ProbeStage,
    PseudoLabel,
    SemiStage,
    Shifts,
    SupervisedStage,
    SystemStage,
)
from ssl_cli.schema.training import Optimiser, Phase, Rate, Schedule, Stop, Supervised
from ssl_cli.schema.views import Affine, Augment, Blur, Colour, Crop, Erase, Flip, Grey, Perspective, Solarise

__all__ = [
    "CLASSIFIERS",
    "Affine",
    "Amount",
    "Augment",
    "BackboneComponent",
    "Blur",
    "Budget",
    "Colour",
    "CompareStage",
    "Component",
    "Config",
    "Count",
    "Crop",
    "DatasetComponent",
    "Degrees",
    "DistillStage",
    "Erase",
    "EvaluateStage",
    "Facts",
    "FixMatch",
    "Flip",
    "Grey",
    "Head",
    "HeadComponent",
    "LeagueStage",
    "MethodComponent",
    "Negatives",
    "NotNegative",
    "Optimiser",
    "Part",
    "Perspective",
    "Phase",
    "Positive",
    "PretrainStage",
    "ProbeStage",
    "PseudoLabel",
    "Range",
    "Rate",
    "Runtime",
    "Schedule",
    "SemiStage",
    "Shape",
    "Shifts",
    "Solarise",
    "Stop",
    "Supervised",
    "SupervisedStage",
    "SystemStage",
    "ViewsComponent",
]


@dataclass(frozen=True)
class Runtime:
    """How this machine is used; `auto` is decided, printed and saved at the start."""

    device: str
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    threads: Count | Literal["auto"]
    channels_last: bool | Literal["auto"]
    compile: bool | Literal["auto"]  # torch.compile of the backbone
    checkpoint_seconds: Amount  # how often a running training is saved


@dataclass(frozen=True)
class Config:
    """All settings of one run, checked."""

    seed: NotNegative
    start: Literal["random"] | Path
    checkpoint: Literal["auto"] | Path
    outputs: Path
    stage: (
        PretrainStage
        | SupervisedStage
        | ProbeStage
        | DistillStage
        | SemiStage
        | EvaluateStage
        | CompareStage
        | SystemStage
        | LeagueStage
    )
    dataset: DatasetComponent
    budget: Budget
    augment: Augment
    backbone: BackboneComponent
    head: Head
    method: MethodComponent
    schedule: Schedule
    runtime: Runtime
