"""Numbers of several seeds."""

import statistics
from typing import Any


def over_seeds(accuracies: list[float]) -> dict[str, float | None]:
    """Mean and standard deviation; None for one seed."""
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    return {"mean": statistics.mean(accuracies), "spread": spread}


def percent(number: dict[str, Any]) -> str:
    """Mean and spread in per cent, with no spaces, because there are many columns."""
    spread = "" if number["spread"] is None else f"±{100 * number['spread']:.1f}"
    return f"{100 * number['mean']:.1f}{spread}"
