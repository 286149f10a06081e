"""A random order of many things, of which any place can be computed by itself: nothing is stored, whatever their number."""

from torch import Tensor

from ssl_cli.randomness import derived_seed

# Of a Feistel network; from four on, its permutations cannot be told from random ones (Luby and Rackoff, 1988).
ROUNDS = 6
MIX = (-4658895280553007687, -7723592293110705685)  # odd multipliers of SplitMix64, as int64


def permuted(places: Tensor, count: int, seed: int, epoch: int) -> Tensor:
    """What stands at places of a random order of 0 to `count` − 1.

    A Feistel network permutes the numbers below the next power of 4; what it takes out of range goes through it again, until it
    is within, so that all of the numbers below `count` come up once.

    Args:
        places: int64, any shape, each from 0 to `count` − 1.
        count: how many things there are.
        seed, epoch: of the order.
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    keys = [derived_seed(seed, f"permutation/{number}", epoch) for number in range(ROUNDS)]
    found = _encrypted(places, half, keys)
    while (outside := found >= count).any():
        found[outside] = _encrypted(found[outside], half, keys)
    return found


def _encrypted(values: Tensor, half: int, keys: list[int]) -> Tensor:
    """A permutation of 0 to 4^`half` − 1."""
    mask = (1 << half) - 1
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_mixed(right + key) & mask)
    return left << half | right


def _mixed(values: Tensor) -> Tensor:
    """Each number's bits spread over all 64 (the finaliser of SplitMix64; Steele et al., 2014)."""
    for shift, factor in zip((30, 27), MIX, strict=True):
        values = (values ^ _shifted(values, shift)) * factor
    return values ^ _shifted(values, 31)


def _shifted(values: Tensor, shift: int) -> Tensor:
    """To the right, with zeros from the left, as unsigned numbers are."""
    return (values >> shift) & ((1 << (64 - shift)) - 1)
