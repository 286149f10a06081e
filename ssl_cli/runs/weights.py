"""Weights read back from the folders of finished runs: whole, finite, and the ones that the run ended with."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ssl_cli.errors import ConfigError
from ssl_cli.runs.files import short
from ssl_cli.runs.result import read_result


def read_weights(folder: Path, name: str) -> dict[str, Tensor]:
    """The tensors of `NAME.safetensors` in the folder of a finished run.

    Raises:
        ConfigError: the file is missing, damaged or another one than the run wrote, or a weight is not finite.
    """
    path = folder / f"{name}.safetensors"
    where = f"{short(folder)}: {path.name}"
    if not path.is_file():
        raise ConfigError(f"{where} is missing")
    hashes: dict[str, str] = (read_result(folder) or {}).get("weights") or {}
    recorded = hashes.get(path.name)
    content = path.read_bytes()
    if recorded not in (None, hashlib.sha256(content).hexdigest()):  # None: written before hashes were kept
        raise ConfigError(f"{where} is damaged or was replaced: its hash is not the one in result.json")
    try:
        weights = load(content)
    except (SafetensorError, ValueError) as error:
        raise ConfigError(f"{where} is damaged ({error})") from error
    broken = not_finite(weights)
    if broken:
        raise ConfigError(f"{where}: {broken} is not finite, so nothing can start from it; train that run again")
    return weights


def not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor in which a number is infinite or not a number; None where there is none."""
    named = {name: tensor for name, tensor in weights.items() if torch.is_floating_point(tensor) and tensor.numel()}
    if not named:
        return None
    all_finite = torch.stack([tensor.isfinite().all() for tensor in named.values()])
    finite = cast(list[bool], all_finite.tolist())  # pyright: ignore[reportUnknownMemberType]  # one wait for the device
    return next((name for name, fine in zip(named, finite, strict=True) if not fine), None)
