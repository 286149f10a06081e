"""Images that are there twice: the same file again, or nearly the same image in training and test."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

DISTANCE = 3  # bits of 64 in which the perceptual hashes of near duplicates may differ
ALIKE = 0.995  # correlation of the pixels of near duplicates
CROWD = 64  # images with one quarter of the hash in common, above which that quarter says nothing
FIRST = 8  # images with the same hash that others with it are compared with, however many there are
SIDE = 32  # pixels, at which images are compared


def find_equal(hashes: Sequence[str]) -> dict[str, list[int]]:
    """Positions of files with the same bytes, for each hash that is there more than once, in order."""
    groups: dict[str, list[int]] = defaultdict(list)
    for position, found in enumerate(hashes):
        groups[found].append(position)
    return {found: group for found, group in groups.items() if len(group) > 1}


def find_similar(
    looks: Sequence[int], ones: Sequence[int], others: Sequence[int], pixels: Callable[[int], np.ndarray]
) -> list[tuple[int, int]]:
    """Pairs of nearly the same image, one of `ones` and one of `others`: saved again, resized or recoloured a little.

    Perceptual hashes (of 64 bits) that differ in at most three bits agree in one quarter, by which candidates are
    found; pixels decide. Simple images, such as digits, agree in hashes without being the same.

    Args:
        looks: the hash of each image, by position.
        ones, others: positions.
        pixels: of the image at a position, uint8 (C, H, W).
    """
    quarters: dict[tuple[int, int], list[int]] = defaultdict(list)
    same: dict[int, list[int]] = defaultdict(list)  # the first ones with a hash: among many, each is like one of them
    for position in others:
        if len(same[looks[position]]) < FIRST:
            same[looks[position]].append(position)
        for number in range(4):
            quarters[number, looks[position] >> 16 * number & 0xFFFF].append(position)
    small: dict[int, np.ndarray] = {}
    found: dict[tuple[int, int], None] = {}
    for one in ones:
        candidates = {
            other
            for number in range(4)
            if len(near := quarters.get((number, looks[one] >> 16 * number & 0xFFFF), ())) <= CROWD
            for other in near
        } | set(same.get(looks[one], ()))
        for other in sorted(candidates - {one}):
            if (looks[one] ^ looks[other]).bit_count() > DISTANCE:
                continue
            for position in (one, other):
                if position not in small:
                    small[position] = _small(pixels(position))
            if float(small[one] @ small[other]) >= ALIKE:
                found[one, other] = None
    return list(found)


def perceptual_hash(image: Image.Image) -> int:
    """Which of two pixels side by side is lighter, in 64 bits: what the network sees, at 9×8 in grey.

    It is the dhash of the library imagehash, without its checks, which take as long as the hash.
    """
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.LANCZOS))
    return int.from_bytes(np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes(), "big")


def find_alike(images: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of nearly the same image among images uint8 (N, C, H, W); see `find_similar`."""
    positions = range(len(images))
    looks = [perceptual_hash(_as_image(image)) for image in images]
    return find_similar(looks, positions, positions, lambda position: images[position])


def _as_image(pixels: np.ndarray) -> Image.Image:
    """Pixels, uint8 (C, H, W), with their mean over channels where these are not one or three."""
    if len(pixels) == 3:
        return Image.fromarray(pixels.transpose(1, 2, 0))
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.mean(0).astype(np.uint8))


def _small(pixels: np.ndarray) -> np.ndarray:
    """Grey pixels at a common size, with mean 0 and length 1: float (D,); 0 for an image of one colour."""
    grey = Image.fromarray(pixels.mean(0).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.float32).ravel()
    values -= values.mean()
    length = float(np.linalg.norm(values))
    return values / length if length else values
