"""Files of published weights: downloaded, read, and loaded where they fit."""

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.config.schema import Shape

CLASSIFIERS = ("fc", "classifier", "heads", "head")  # what torchvision and timm call them
AUXILIARY = ("AuxLogits", "aux1", "aux2")  # classifiers that only training has, in GoogLeNet and Inception


def downloaded(url: str) -> Path:
    """A file of published weights, in PyTorch's folder for them."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path))
        except (OSError, RuntimeError) as error:
            instead = f"put {url} at {path}, or give weights=FILE"
            raise ValueError(f"weights=DEFAULT: cannot be downloaded ({error}); {instead}") from error
    return path


def load_published(network: nn.Module, path: Path, asked: str, shape: Shape, side: int | None = None) -> None:
    """Load weights, but for the classifier's; nowhere where the network is only tried, on the meta device.

    Args:
        network: without its classifier.
        path: of the file; asked: as typed.
        shape: of the inputs that the network is for.
        side: of those that its published weights are for, in pixels, where that is known.

    Raises:
        ValueError: the file is not there, holds no weights, or those of another network or for inputs of another size.
    """
    found = _read(path, asked)
    own = network.state_dict()
    kept = OrderedDict((key, value) for key, value in found.items() if key in own)
    missing = [key for key in own if key not in kept]
    passed = (*CLASSIFIERS, *AUXILIARY)
    more = [key for key in found if key not in own and key.partition(".")[0] not in passed]
    wrong = [key for key, value in kept.items() if value.shape != own[key].shape]
    made_for = None if missing or more else _made_for(network, {key: kept[key].shape for key in wrong}, side)
    if made_for is not None and made_for != shape[1]:
        raise ValueError(f"{asked}: is for inputs of {needs(made_for)}, and these are {shape[1]}×{shape[2]}")
    if missing or more or wrong:
        said = f"lacks {missing[0]}" if missing else f"has {more[0]}" if more else f"has {wrong[0]} in another shape"
        raise ValueError(f"{asked}: holds the weights of another network; it {said}")
    vars(kept)["_metadata"] = vars(own).get("_metadata")  # of how its layers are written, which MNASNet asks for
    if not next(iter(own.values())).is_meta:
        network.load_state_dict(kept)


def needs(side: int) -> str:
    """Inputs of a size in words, with the setting that makes such of files."""
    return f"{side}×{side} (dataset.size={side} for images of a folder)"


def _made_for(network: Any, differing: dict[str, torch.Size], side: int | None) -> int | None:
    """Pixels a side of the inputs that weights are for, where only what depends on positions has another shape."""
    if not differing or not all("pos" in key for key in differing):
        return None
    patch = (
        getattr(network, "patch_size", None) or getattr(getattr(network, "patch_embed", None), "patch_size", (0,))[0]
    )
    for key, found in differing.items():
        if key.endswith(("pos_embedding", "pos_embed")) and patch:
            for tokens in (found[1] - getattr(network, "num_prefix_tokens", 1), found[1]):
                if math.isqrt(tokens) ** 2 == tokens:
                    return math.isqrt(tokens) * patch
    return side


def _read(path: Path, asked: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"{asked}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
        found = found.get("state_dict", found)
        return {str(key).removeprefix("module."): value for key, value in found.items() if isinstance(value, Tensor)}
    except Exception as error:  # a damaged file leads the readers to whatever
        raise ValueError(
            f"{asked}: holds no weights ({str(error).partition(chr(10))[0] or type(error).__name__})"
        ) from error
