"""Randomness as a function of the seed, the purpose and the step, so that a resumed run draws what it would have drawn."""

import hashlib
from functools import cached_property

import torch


def derived_seed(seed: int, purpose: str, step: int = 0) -> int:
    """A number of its own for each purpose and step."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1  # what manual_seed takes on every device


def generator(seed: int, purpose: str, step: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A random source for one purpose at one step."""
    return torch.Generator(device).manual_seed(derived_seed(seed, purpose, step))


class Draws:
    """Random numbers for the inputs of one batch, as a function of the seed, the purpose and the step.

    Numbers are drawn for the whole batch, and each process gets those of its own inputs, as `ssl_cli.processes` deals them:
    several processes draw what one would. So the first dimension of every draw is that of the process's inputs, and how much is
    drawn may not depend on values.

    Args:
        seed, purpose, step: of the random source; see `derived_seed`.
        device: where the numbers are drawn.
        rank: of this process, counted from 0.
        processes: among which the batch is dealt.
    """

    def __init__(
        self, seed: int, purpose: str, step: int = 0, device: torch.device | str = "cpu", rank: int = 0,
        processes: int = 1,
    ):  # fmt: skip
        self.device = torch.device(device)
        self.rank, self.processes = rank, processes
        self._key = (seed, purpose, step)

    @cached_property
    def source(self) -> torch.Generator:
        """The generator, made when the first number is drawn, since most methods draw none."""
        return generator(*self._key, self.device)

    def on(self, device: torch.device | str) -> "Draws":
        """The same source of randomness with its numbers on another device."""
        return Draws(*self._key, device, self.rank, self.processes)

    def for_all(self) -> "Draws":
        """The same source of randomness for the inputs of all processes."""
        everyone = Draws(*self._key, self.device)
        everyone.source = self.source
        return everyone

    def uniform(self, count: int, *more: int) -> torch.Tensor:
        """Uniform in [0, 1): float32 (count, *more)."""
        drawn = torch.rand(count * self.processes, *more, generator=self.source, device=self.device)
        return self._own(drawn)

    def normal(self, count: int, *more: int) -> torch.Tensor:
        """Standard normal: float32 (count, *more)."""
        drawn = torch.randn(count * self.processes, *more, generator=self.source, device=self.device)
        return self._own(drawn)

    def integers(self, high: int, count: int, *more: int) -> torch.Tensor:
        """Uniform over 0 to `high` − 1: int64 (count, *more)."""
        shape = (count * self.processes, *more)
        return self._own(torch.randint(high, shape, generator=self.source, device=self.device))

    def _own(self, drawn: torch.Tensor) -> torch.Tensor:
        return drawn if self.processes == 1 else drawn[self.rank :: self.processes]


def seed_network(seed: int, device: torch.device) -> None:
    """Seed what layers such as dropout draw from, on the CPU and on the device in use.

    `torch.manual_seed` seeds every kind of device there might be, which costs more than a small network's step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type != "cpu":
        torch.manual_seed(seed)
