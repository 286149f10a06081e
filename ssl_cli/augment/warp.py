"""Geometric augmentation: each step is a 3×3 matrix per image, all are multiplied, and images are resampled once.

A matrix maps output to input positions, in pixels from the image's centre (x to the right, y down); a pixel's position is that of
its centre. Applying step 1, then step 2 to an image is `matrix_1 @ matrix_2`. Angles, shear and corner points are
torchvision's.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


def identity(count: int, device: torch.device | str = "cpu") -> Tensor:
    """Identity matrices: (count, 3, 3)."""
    return torch.eye(3, device=device).repeat(count, 1, 1)


def affine(rotation: Tensor, shift_x: Tensor, shift_y: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Rotation clockwise and horizontal shear in degrees, shift in pixels, scale as a factor: (B,) each → (B, 3, 3)."""
    angle, slant = torch.deg2rad(rotation), torch.tan(torch.deg2rad(shear))
    cos, sin = angle.cos() / scale, angle.sin() / scale
    # Forward, torchvision turns after it shears: scale · R(angle) · [[1, −slant], [0, 1]]; this is the inverse.
    a, b = cos - slant * sin, sin + slant * cos
    c, d = -sin, cos
    zero, one = torch.zeros_like(a), torch.ones_like(a)
    x, y = -(a * shift_x + b * shift_y), -(c * shift_x + d * shift_y)
    return torch.stack([a, b, x, c, d, y, zero, zero, one], dim=1).view(-1, 3, 3)


def flip(count: int, device: torch.device | str = "cpu") -> Tensor:
    """Horizontal flip: (count, 3, 3)."""
    return torch.diag(torch.tensor([-1.0, 1.0, 1.0], device=device)).repeat(count, 1, 1)


def crop(top: Tensor, left: Tensor, height: Tensor, width: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop a box, in pixels from the upper left corner, (B,) each, and resize it to the whole image of `size` (H, W)."""
    full_height, full_width = size
    zero, one = torch.zeros_like(top), torch.ones_like(top)
    x, y = left + (width - full_width) / 2, top + (height - full_height) / 2
    rows = [width / full_width, zero, x, zero, height / full_height, y, zero, zero, one]
    return torch.stack(rows, dim=1).view(-1, 3, 3)


def perspective(corners: Tensor, size: tuple[int, int]) -> Tensor:
    """The perspective that moves the image's corner pixels to these positions: (B, 3, 3).

    Args:
        corners: (B, 4, 2), new x and y in pixels of the upper left, upper right, lower right and lower left corner.
        size: H, W.
    """
    height, width = size
    quad = _square_to(corners)
    rectangle = torch.tensor([[width - 1.0, 0.0, 0.0], [0.0, height - 1.0, 0.0], [0.0, 0.0, 1.0]], device=quad.device)
    centre = torch.tensor([[1.0, 0.0, -width / 2], [0.0, 1.0, -height / 2], [0.0, 0.0, 1.0]], device=quad.device)
    back = torch.tensor([[1.0, 0.0, width / 2], [0.0, 1.0, height / 2], [0.0, 0.0, 1.0]], device=quad.device)
    return (centre @ rectangle) @ _inverse(quad) @ back


def _square_to(corners: Tensor) -> Tensor:
    """The homography from the unit square to these corners (Heckbert, 1989, section 2.2.3): (B, 4, 2) → (B, 3, 3)."""
    p0, p1, p2, p3 = corners.unbind(1)
    d1, d2, rest = p1 - p2, p3 - p2, p0 - p1 + p2 - p3
    determinant = _cross(d1, d2)
    g, h = _cross(rest, d2) / determinant, _cross(d1, rest) / determinant
    first, second = p1 - p0 + g[:, None] * p1, p3 - p0 + h[:, None] * p3
    last = torch.stack([g, h, torch.ones_like(g)], dim=1)
    return torch.cat([torch.stack([first, second, p0], dim=2), last[:, None]], dim=1)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _inverse(matrix: Tensor) -> Tensor:
    """The inverse up to a factor, which does not matter for a homography: the adjugate, row by row."""
    a, b, c = matrix.unbind(2)
    return torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=1)


def resample(images: Tensor, matrices: Tensor, outside: str, size: tuple[int, int] | None = None) -> Tensor:
    """Bilinear resampling, once for all steps: (B, C, H, W) → (B, C, H', W').

    Args:
        images: float (B, C, H, W).
        matrices: (B, 3, 3), output to input, between images of the inputs' size.
        outside: padding mode, `zeros` or `border`.
        size: H', W'; None for that of the inputs.
    """
    height, width = images.shape[-2:]
    rows, columns = size or (height, width)
    to_unit = matrices.new_tensor([[2 / width], [2 / height], [1.0]])  # grid_sample counts from −1 to 1
    positions = _positions(rows, columns, height, width, images.device)
    # All x, then all y: one matrix product with long rows, which grid_sample takes without a copy.
    found = ((to_unit * matrices).view(-1, 3) @ positions).view(-1, 3, rows, columns)
    grid = found[:, :2].div_(found[:, 2:]) if _projective(matrices) else found[:, :2]
    return F.grid_sample(images, grid.permute(0, 2, 3, 1), mode="bilinear", padding_mode=outside, align_corners=False)


@functools.lru_cache(maxsize=8)
def _positions(rows: int, columns: int, height: int, width: int, device: torch.device) -> Tensor:
    """x, y and 1 of each point of a grid over an image, in its pixels from its centre: (3, rows · columns)."""
    x = (torch.arange(columns, device=device) - (columns - 1) / 2) * (width / columns)
    y = (torch.arange(rows, device=device) - (rows - 1) / 2) * (height / rows)
    ones = torch.ones(rows, columns, device=device)
    return torch.stack([x.expand(rows, columns), y[:, None].expand(rows, columns), ones]).view(3, -1)


def _projective(matrices: Tensor) -> bool:
    if matrices.device.type != "cpu":  # to check would synchronise with the device
        return True
    return not torch.equal(matrices[:, 2], matrices.new_tensor([0.0, 0.0, 1.0]).expand(len(matrices), 3))


def corners_of(size: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """(4, 2): x and y of the corner pixels, clockwise from the upper left."""
    height, width = size
    right, bottom = width - 1.0, height - 1.0
    return torch.tensor([[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]], device=device)


def box_sides(area: Tensor, ratio: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Height and width in pixels of a box with this fraction of the area and width-to-height ratio, clipped to the image."""
    height, width = size
    pixels = area * (height * width)
    return (pixels / ratio).sqrt().clamp(max=height), (pixels * ratio).sqrt().clamp(max=width)
