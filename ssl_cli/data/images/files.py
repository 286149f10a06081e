"""Image files become inputs: uint8, of one size and one number of channels."""

import io
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

Fit = Literal["crop", "pad", "stretch"]

HEIC = (".heic", ".heif")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", *HEIC)
DEEP = ("I;16", "I;16B", "I;16L", "I")  # modes of 16-bit files
DEEPEST = 65_535
_WARNINGS = threading.Lock()  # `catch_warnings` changes filters of the whole process, and files are decoded in threads


class UnreadableError(Exception):
    """Why a file gives no input, in a few words."""


class PassingError(UnreadableError):
    """Why a file gives no input for now: not its bytes are the reason, and another time it may be read."""


@dataclass(frozen=True)
class Reading:
    """How an image file becomes an input.

    height, width: in pixels.
    channels: 1, grey; or 3, colour.
    fit: of an image with other proportions the middle is taken (crop), all of it with black beside it (pad), or all of it
        distorted (stretch).
    """

    height: int
    width: int
    channels: int
    fit: Fit = "crop"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an input: (C, H, W)."""
        return self.channels, self.height, self.width

    @property
    def nbytes(self) -> int:
        """Of an input."""
        return self.channels * self.height * self.width


def is_image(path: Path) -> bool:
    """Whether a file's name ends as those of images do."""
    return path.suffix.lower() in SUFFIXES


def read_image(path: Path, reading: Reading) -> np.ndarray:
    """The pixels of a file: uint8 (C, H, W).

    Raises:
        UnreadableError: it is no whole image.
    """
    return decode_image(read_file(path), path.suffix, reading)


def read_file(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        UnreadableError: it cannot be read or holds nothing.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PassingError(f"cannot be read ({error.strerror})") from error
    if not content:
        raise UnreadableError("empty file")
    return content


def decode_image(content: bytes, suffix: str, reading: Reading) -> np.ndarray:
    """The pixels of a file's content: uint8 (C, H, W).

    The first frame is taken, and turned as EXIF says. Transparent pixels become white. 16-bit values v become v · 255 / 65,535.

    Raises:
        UnreadableError: it is no whole image.
    """
    return pixels_of(open_image(content, suffix, reading), reading)


def pixels_of(image: Image.Image, reading: Reading) -> np.ndarray:
    """The pixels of an image that is upright: uint8 (C, H, W).

    Raises:
        UnreadableError: it has pixels that are not whole numbers of 1, 8 or 16 bits.
    """
    return as_array(as_input(image, reading))


def as_input(image: Image.Image, reading: Reading) -> Image.Image:
    """An image that is upright in the size and the mode of an input, L or RGB.

    Raises:
        UnreadableError: it has pixels that are not whole numbers of 1, 8 or 16 bits.
    """
    size = (reading.width, reading.height)
    try:
        image = _in_mode("L" if reading.channels == 1 else "RGB", to_eight_bits(image))
        return image if image.size == size else _fitted(image, size, reading.fit)
    except (ValueError, OSError) as error:  # of a mode that Pillow reads and does not convert
        raise UnreadableError(f"pixels of an unknown kind ({image.mode})") from error


def as_array(image: Image.Image) -> np.ndarray:
    """The pixels of an image of mode L or RGB: uint8 (C, H, W)."""
    pixels = np.asarray(image)
    return pixels[None] if image.mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def open_image(content: bytes, suffix: str = "", reading: Reading | None = None) -> Image.Image:
    """The first frame of an image, upright; of a JPEG only as many pixels as are needed, twice those of an input.

    Raises:
        UnreadableError: it is no whole image.
    """
    if suffix.lower() in HEIC:
        _register_heic()
    try:
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # of damaged EXIF data
            image = Image.open(io.BytesIO(content))
        if reading is not None:
            # Half the size of a JPEG costs a quarter of the time; what is kept has at least twice the input's pixels.
            image.draft(None, (2 * reading.width, 2 * reading.height))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return image
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnreadableError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableError("no image") from error
    except MemoryError as error:
        raise PassingError("too large for the memory that was free") from error
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise UnreadableError(
            f"damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error


def to_eight_bits(image: Image.Image) -> Image.Image:
    """An image of any mode as L or RGB.

    Raises:
        UnreadableError: it has pixels that are not whole numbers of 1, 8 or 16 bits.
    """
    if image.mode in DEEP:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > DEEPEST:
            raise UnreadableError(f"values outside 0 to {DEEPEST:,}")
        return Image.fromarray(((values * 255 + DEEPEST // 2) // DEEPEST).astype(np.uint8))
    if image.mode == "F":
        raise UnreadableError("floating-point pixels, whose range is not known")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        seen = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("L" if image.mode in ("LA", "La") else "RGB")
    return _in_mode("L" if image.mode in ("1", "L") else "RGB", image)


def is_colour(image: Image.Image) -> bool:
    """Whether an image shows any colour: red, green and blue that differ by more than JPEG's rounding does."""
    if image.mode == "L":
        return False
    pixels = np.asarray(image.convert("RGB").resize((64, 64))).astype(np.int16)
    return int(np.ptp(pixels, axis=2).max()) > 12


def _in_mode(mode: str, image: Image.Image) -> Image.Image:
    """An image in a mode, itself where it has it: `convert` would copy it."""
    return image if image.mode == mode else image.convert(mode)


def _fitted(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    if fit == "pad":
        return ImageOps.pad(image, size, Image.Resampling.BICUBIC)
    if fit == "stretch":
        return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    return ImageOps.fit(image, size, Image.Resampling.BICUBIC)


def _register_heic() -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise PassingError("HEIC needs pillow-heif; pip install pillow-heif") from error
    register_heif_opener()
