"""The types that all settings share."""

from dataclasses import dataclass
from typing import Annotated, Any

Count = Annotated[int, "[1, inf)"]
NotNegative = Annotated[int, "[0, inf)"]
Positive = Annotated[float, "(0, inf)"]
Amount = Annotated[float, "[0, inf)"]
Part = Annotated[float, "[0, 1]"]  # a probability or a share
Degrees = Annotated[float, "[0, 180]"]
Range = tuple[float, float]
Shape = tuple[Count, Count, Count]  # channels, height, width


@dataclass(frozen=True)
class Target:
    """One choice of an open group: a class or function by its import path, and the arguments it gets."""

    name: str
    path: str
    arguments: dict[str, Any]
