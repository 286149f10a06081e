"""What a training is made of, as bytes for another process.

Inputs of a data set that its settings name are not sent: the other process reads them, from the cache that the first one has
made.
"""

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.data.dataset import inputs_read, where_read
from ssl_cli.data.shards import Shards
from ssl_cli.data.tokens import Tokens
from ssl_cli.errors import ConfigError
from ssl_cli.training.step import Recipe


@dataclass(frozen=True)
class Parcel:
    """A training for another process to take part in.

    recipe: its method has the weights to begin with; optimiser, scaler: their states.
    """

    recipe: Recipe
    optimiser: dict[str, Any]
    scaler: dict[str, Any]


def packed(parcel: Parcel) -> bytes:
    """A parcel as bytes.

    Raises:
        ConfigError: some of it cannot be sent, such as a function without a name.
    """
    written = io.BytesIO()
    try:
        _Packer(written, pickle.HIGHEST_PROTOCOL).dump(parcel)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"runtime.processes={parcel.recipe.machine.processes}: the training cannot be sent to others ({error}); take 1"
        ) from error
    return written.getvalue()


def unpacked(content: bytes) -> Parcel:
    """What was packed by the process that leads, whose word is trusted as this program's own."""
    return pickle.loads(content)


class _Packer(pickle.Pickler):
    def reducer_override(self, obj: Any) -> tuple[Callable[..., Any], tuple[Any, ...]] | Any:
        if isinstance(obj, (Tensor, Shards, Tokens)) and (where := where_read(obj)):
            return inputs_read, where
        if isinstance(obj, Tensor) and obj.device.type != "cpu":  # each process has another device
            if isinstance(obj, nn.Parameter):
                return nn.Parameter, (obj.detach().cpu(), obj.requires_grad)
            return torch.detach, (obj.detach().cpu(),)
        return NotImplemented
