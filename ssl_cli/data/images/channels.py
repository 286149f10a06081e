"""The order of an image's axes."""

from torch import Tensor


def channels_second(inputs: Tensor) -> Tensor:
    """(N, H, W), (N, H, W, 3) or (N, C, H, W) → (N, C, H, W), without copying."""
    if inputs.ndim == 3:
        return inputs[:, None]
    return inputs.permute(0, 3, 1, 2) if inputs.shape[-1] == 3 else inputs
