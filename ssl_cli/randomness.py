"""Randomness as a function of the seed, the purpose and the step, so that a resumed run draws what it would have drawn."""

import hashlib

import torch


def derived_seed(seed: int, purpose: str, step: int = 0) -> int:
    """A number of its own for each purpose and step."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1  # what manual_seed takes on every device


def generator(seed: int, purpose: str, step: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A random source for one purpose at one step."""
    return torch.Generator(device).manual_seed(derived_seed(seed, purpose, step))


def seed_network(seed: int, device: torch.device) -> None:
    """Seed what layers such as dropout draw from, on the CPU and on the device in use.

    `torch.manual_seed` seeds every kind of device there might be, which costs more than a small network's step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)
