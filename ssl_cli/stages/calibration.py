"""`calibration.json`: a classifier's temperature, and the conformal scores of the validation part of the label budget."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import write
from ssl_cli.training.calibration import calibrated, conformal_scores, conformal_threshold, fit_temperature

NAME = "calibration.json"
FORMAT = 1


@dataclass(frozen=True)
class Calibration:
    """What validation inputs say of a classifier's probabilities.

    temperature: by which logits are divided.
    scores: of the validation inputs, rising; see `training.calibration.conformal_scores`.
    """

    temperature: float
    scores: list[float]

    def threshold(self, confidence: float) -> float:
        """The conformal threshold at a confidence in (0, 1)."""
        return conformal_threshold(torch.tensor(self.scores, dtype=torch.float64), confidence)


def save_calibration(folder: Path, logits: Tensor, labels: Tensor) -> None:
    """Calibrate a classifier by its logits, float (N, C), of N validation inputs with these labels, int64 (N,)."""
    temperature = fit_temperature(logits, labels)
    scores = conformal_scores(calibrated(logits, temperature), labels).sort().values
    found = Calibration(round(temperature, 6), [round(score, 6) for score in scores.tolist()])
    write(folder / NAME, json.dumps({"format": FORMAT, **asdict(found)}) + "\n")


def read_calibration(key: str, folder: Path) -> Calibration | None:
    """The calibration of the classifier in the folder `key`=`folder`, which may be a stranger's; None where it has none.

    Raises:
        ConfigError: a value has another type or is outside its range.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        about: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{key}={folder}: its {NAME} cannot be read ({str(error).splitlines()[0]})") from error
    about = cast(dict[str, Any], about) if isinstance(about, dict) else {}
    temperature, scores = about.get("temperature"), about.get("scores")
    problems = [] if about.get("format") == FORMAT else [f"format must be {FORMAT}"]
    if not _is_number(temperature) or not 0.001 <= temperature <= 1000:
        problems.append("temperature must be a number in [0.001, 1000]")
    if not (
        isinstance(scores, list) and scores and all(_is_number(s) and 0 <= s <= 1 for s in cast(list[Any], scores))
    ):
        problems.append("scores must be a list of numbers in [0, 1]")
    if problems:
        raise ConfigError(f"{key}={folder}: its {NAME} cannot be used: {'; '.join(problems)}")
    return Calibration(float(temperature), [float(score) for score in cast(list[Any], scores)])


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
