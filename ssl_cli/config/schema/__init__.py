"""The types of every setting. Values live in `conf/`; there are no defaults here.

A type may carry an interval (`Annotated[float, "(0, 1]"]`) that `ssl_cli.config.compose` checks. This module imports neither
torch nor OmegaConf, so that a misspelt key is answered at once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from ssl_cli.config.schema.basics import (
    BackboneComponent,
    Component,
    Count,
    DatasetComponent,
    Degrees,
    Dropout,
    Fraction,
    HeadComponent,
    MethodComponent,
    NonNegative,
    NonNegativeInt,
    Positive,
    Range,
    Shape,
    Share,
    ViewsComponent,
)
from ssl_cli.config.schema.data import Bpe, Budget, Columns, Facts, ImageFacts, TextFacts
from ssl_cli.config.schema.networks import Head, Negatives
from ssl_cli.config.schema.stage import Ending, Network, Stage, TrainedPart, given_inputs_problems
from ssl_cli.config.schema.training import Optimiser, Phase, Rate, Schedule, Stop, Supervised
from ssl_cli.config.schema.views import (
    Affine,
    Augment,
    Blur,
    Colour,
    Crop,
    Erase,
    Flip,
    Grey,
    Length,
    Perspective,
    Solarise,
    Span,
    TokenDropout,
)

__all__ = [
    "Affine",
    "Augment",
    "BackboneComponent",
    "Blur",
    "Bpe",
    "Budget",
    "Colour",
    "Columns",
    "Component",
    "Config",
    "Count",
    "Crop",
    "DatasetComponent",
    "Degrees",
    "Dropout",
    "Ending",
    "Erase",
    "Facts",
    "Flip",
    "Fraction",
    "Grey",
    "Head",
    "HeadComponent",
    "ImageFacts",
    "Length",
    "MethodComponent",
    "Negatives",
    "Network",
    "NonNegative",
    "NonNegativeInt",
    "Optimiser",
    "Perspective",
    "Phase",
    "Positive",
    "Range",
    "Rate",
    "Runtime",
    "Schedule",
    "Shape",
    "Share",
    "Solarise",
    "Span",
    "Stage",
    "Stop",
    "Supervised",
    "TextFacts",
    "TokenDropout",
    "TrainedPart",
    "ViewsComponent",
    "given_inputs_problems",
]

_S = TypeVar("_S", bound=Stage)


@dataclass(frozen=True)
class Runtime:
    """How this machine is used; `auto` is decided, printed and saved at the start."""

    processes: Count | Literal["auto"]  # that train together
    device: str
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    threads: Count | Literal["auto"]  # of each process
    channels_last: bool | Literal["auto"]
    compile: bool | Literal["auto"]  # torch.compile of the backbone
    checkpoint_seconds: NonNegative  # how often a running training is saved


@dataclass(frozen=True)
class Config:
    """All settings of one run, checked."""

    seed: NonNegativeInt
    init_from: Literal["random"] | Path
    checkpoint: Literal["auto"] | Path
    outputs: Path
    stage: Stage
    dataset: DatasetComponent
    budget: Budget
    augment: Augment
    backbone: BackboneComponent
    head: Head
    method: MethodComponent
    schedule: Schedule
    runtime: Runtime
    reuse: bool = True  # younger than some saved runs

    def stage_as(self, *kinds: type[_S]) -> _S:
        """The settings of the stage, which are of one of these kinds.

        Raises:
            TypeError: they are of another one, so a stage's function got the settings of another stage.
        """
        if not isinstance(self.stage, kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"stage={self.stage.name}: is no {wanted}")
        return self.stage
