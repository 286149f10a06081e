"""The types that all settings share."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

Count = Annotated[int, "[1, inf)"]
NonNegativeInt = Annotated[int, "[0, inf)"]
Positive = Annotated[float, "(0, inf)"]
NonNegative = Annotated[float, "[0, inf)"]
Fraction = Annotated[float, "[0, 1]"]  # a probability or a fraction
Share = Annotated[float, "(0, 1]"]
Dropout = Annotated[float, "[0, 1)"]
Degrees = Annotated[float, "[0, 180]"]
Range = tuple[float, float]
Shape = tuple[Count, Count, Count]  # channels, height, width


@dataclass(frozen=True)
class Component:
    """One choice of an open group: a class or function by its import path, and the arguments it gets.

    A setting's type is one of the subclasses, whose `group` says which folder of `conf/` lists the choices that ship with
    this program, and whose `given` are the arguments that the program adds to those of the settings.
    """

    name: str
    path: str
    arguments: dict[str, Any]

    group: ClassVar[str] = ""
    given: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True)
class DatasetComponent(Component):
    """Makes a data set."""

    group: ClassVar[str] = "dataset"


@dataclass(frozen=True)
class ViewsComponent(Component):
    """Makes random views of a batch."""

    group: ClassVar[str] = "augment"
    given: ClassVar[tuple[str, ...]] = ("scale", "vocabulary")


@dataclass(frozen=True)
class BackboneComponent(Component):
    """Makes a backbone."""

    group: ClassVar[str] = "backbone"
    given: ClassVar[tuple[str, ...]] = ("shape", "vocabulary")


@dataclass(frozen=True)
class HeadComponent(Component):
    """Makes a projection head or a classifier."""

    group: ClassVar[str] = "head"
    given: ClassVar[tuple[str, ...]] = ("inputs", "classes")


@dataclass(frozen=True)
class MethodComponent(Component):
    """Makes a pre-training method."""

    group: ClassVar[str] = "method"
    given: ClassVar[tuple[str, ...]] = (
        "backbone",
        "head",
        "shape",
        "vocabulary",
        "scale",
        "inputs",
        "cases",
        "translations",
        "read",
    )
