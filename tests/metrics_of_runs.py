"""What a run has written of its training."""

import json
from pathlib import Path


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """All lines of a run's metrics, whole ones only."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
