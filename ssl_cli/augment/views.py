"""Random augmented views of a batch."""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_cli.augment import pixels, warp
from ssl_cli.config.schema import Affine, Blur, Colour, Crop, Erase, Flip, Grey, Perspective, Share, Solarise
from ssl_cli.randomness import Draws


def encode(inputs: Tensor, scale: float) -> Tensor:
    """uint8 images as float in 0 to `scale`; floats pass unchanged."""
    return inputs.float().mul_(scale / 255) if inputs.dtype == torch.uint8 else inputs


class Views:
    """Augmented views of uint8 images, with a draw for each image (or, with `draw: batch`, one for the whole batch).

    Args:
        draw: `sample` or `batch`.
        crop, flip, affine, perspective: geometric steps, composed into one resampling, in this order.
        colour, grey, blur, solarise, erase: pixel operations, in this order.
        scale: pixel values of the views are 0 to this.
        resolution: of the views, as a share of the images' sides: 0.625 makes 20×20 of 32×32, for 40 % of the network's work.
    """

    def __init__(
        self,
        draw: Literal["sample", "batch"],
        crop: Crop,
        flip: Flip,
        affine: Affine,
        perspective: Perspective,
        colour: Colour,
        grey: Grey,
        blur: Blur,
        solarise: Solarise,
        erase: Erase,
        scale: float,
        resolution: Share = 1.0,
    ):
        self.draw = draw
        self.crop, self.flip, self.affine, self.perspective = crop, flip, affine, perspective
        self.colour, self.grey, self.blur, self.solarise, self.erase = colour, grey, blur, solarise, erase
        self.resolution = resolution
        self.scale = scale
        self.warps = any(step.p > 0 for step in (crop, flip, affine, perspective))
        self.changes_pixels = any(step.p > 0 for step in (colour, grey, blur, solarise, erase))

    @property
    def random(self) -> bool:
        """Whether two views of an image can differ."""
        return self.warps or self.changes_pixels

    @property
    def magnification(self) -> float:
        """How large things are in a view, as a multiple of their size in the image: the mean over the steps' draws."""
        low, high = self.crop.area
        # The mean of 1 / √area, for an area that is drawn evenly.
        cropped = 2 / (math.sqrt(low) + math.sqrt(high))
        scaled = sum(self.affine.scale) / 2
        return self.resolution * (1 + self.crop.p * (cropped - 1)) * (1 + self.affine.p * (scaled - 1))

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the views of images that are so large, in pixels."""
        return max(1, round(height * self.resolution)), max(1, round(width * self.resolution))

    def plain(self, inputs: Tensor, device: torch.device) -> Tensor:
        """The images without augmentation: uint8 (B, C, H, W) → float (B, C, H, W). Features (B, D) pass unchanged."""
        return encode(inputs.to(device, non_blocking=True), self.scale)

    def resized(self, images: Tensor) -> Tensor:
        """Images without augmentation in the size of the views: float (B, C, H, W) → (B, C, H', W')."""
        size = self.size_of(images.shape[-2], images.shape[-1])
        if size == tuple(images.shape[-2:]):
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True)

    def __call__(self, inputs: Tensor, count: int, draws: Draws) -> tuple[Tensor, ...]:
        """uint8 (B, C, H, W) → `count` views, float (B, C, H', W') each, on the device of `draws`."""
        if not self.random and self.resolution == 1:
            return (self.plain(inputs, draws.device),) * count
        return self._varied(inputs.to(draws.device, non_blocking=True), count, draws)

    def _varied(self, inputs: Tensor, count: int, source: Draws) -> tuple[Tensor, ...]:
        draws = _Draws(len(inputs), count, self.draw == "batch", source)
        images = encode(inputs, 1.0)
        if self.warps:
            size = self.size_of(inputs.shape[-2], inputs.shape[-1])
            matrices = self._matrices(draws, (inputs.shape[-2], inputs.shape[-1]))
            # Cropped photographs repeat their border; moved digits get a black background.
            outside = "zeros" if self.affine.p or self.perspective.p else "border"
            each = draws.spread(matrices).split(len(inputs))
            images = torch.cat([warp.resample(images, part, outside, size) for part in each])
        else:
            images = self.resized(images).repeat(count, 1, 1, 1)
        if self.changes_pixels:
            images = self._with_pixel_operations(images, draws)
        return (images.mul_(self.scale) if self.scale != 1 else images).split(len(inputs))

    def _matrices(self, draws: "_Draws", size: tuple[int, int]) -> Tensor:
        """Output-to-input matrices of all geometric steps, one per draw: (drawn, 3, 3)."""
        height, width = size
        total = warp.identity(draws.drawn, draws.device)
        if self.crop.p:
            sides = warp.box_sides(draws.uniform(*self.crop.area), draws.log_uniform(*self.crop.ratio), size)
            top, left = (draws.uniform(0, 1) * (full - side) for full, side in zip(size, sides, strict=True))
            total = draws.where(self.crop.p, warp.crop(top, left, *sides, size), total)
        if self.flip.p:
            flipped = warp.flip(draws.drawn, draws.device)
            total = total @ draws.where(self.flip.p, flipped, warp.identity(draws.drawn, draws.device))
        if self.affine.p:
            step = self.affine
            moved = warp.affine(
                rotation=draws.uniform(-step.rotation, step.rotation),
                shift_x=draws.uniform(-step.shift, step.shift) * width,
                shift_y=draws.uniform(-step.shift, step.shift) * height,
                scale=draws.uniform(*step.scale),
                shear=draws.uniform(-step.shear, step.shear),
            )
            total = total @ draws.where(step.p, moved, warp.identity(draws.drawn, draws.device))
        if self.perspective.p:
            total = self._with_perspective(total, draws, size)
        return total

    def _with_perspective(self, total: Tensor, draws: "_Draws", size: tuple[int, int]) -> Tensor:
        """Solve all perspectives at once: on small images, many small operations cost as much as the resampling."""
        height, width = size
        corners = warp.corners_of(size, draws.device)
        inwards = torch.where(corners == 0, 1.0, -1.0) * corners.new_tensor([width / 2, height / 2])
        moved, coins = [], []
        for distortion in self.perspective.distortion:
            moved.append(corners + inwards * distortion * draws.uniform(0, 1, 8).view(-1, 4, 2))
            coins.append(draws.coin(self.perspective.p))
        for tilted, coin in zip(warp.perspective(torch.cat(moved), size).split(draws.drawn), coins, strict=True):
            total = torch.where(coin, total @ tilted, total)
        return total

    def _with_pixel_operations(self, images: Tensor, draws: "_Draws") -> Tensor:
        if self.colour.p:
            images = draws.some(self.colour.p, images, self._colour_jitter(draws))
        if self.grey.p:
            images = draws.some(self.grey.p, images, lambda part, _: pixels.grey(part).clone())
        if self.blur.p:
            images = self._with_blur(images, draws)
        if self.solarise.p:
            images = draws.some(self.solarise.p, images, lambda part, _: pixels.solarise(part, self.solarise.threshold))
        if self.erase.p:
            size = (images.shape[-2], images.shape[-1])
            sides = warp.box_sides(draws.each(*self.erase.area), draws.each_log(*self.erase.ratio), size)
            box = [(draws.each(0, 1) * (full - side)).floor() for full, side in zip(size, sides, strict=True)]
            box += [side.round() for side in sides]
            images = draws.some(self.erase.p, images, lambda part, who: pixels.erase(part, *(v[who] for v in box)))
        return images

    def _with_blur(self, images: Tensor, draws: "_Draws") -> Tensor:
        """Apply all blurs at once, to the images that get at least one."""
        sigmas = [draws.each(*self.blur.sigma) for _ in range(self.blur.times)]
        sigmas = [torch.where(draws.each(0, 1) < self.blur.p, sigma, 0.0) for sigma in sigmas]
        who = torch.stack(sigmas).amax(0).nonzero()[:, 0]
        if not len(who):
            return images
        return images.index_copy_(
            0, who, pixels.gaussian_blur(images[who], self.blur.kernel, *(s[who] for s in sigmas))
        )

    def _colour_jitter(self, draws: "_Draws") -> Callable[[Tensor, Tensor], Tensor]:
        """Brightness, contrast, saturation and hue, in an order drawn once per batch."""
        strength = self.colour.strength
        factors: list[tuple[Callable[[Tensor, Tensor], Tensor], Tensor]] = [
            (step, draws.each(max(0.0, 1 - strength * amount), 1 + strength * amount))
            for step, amount in (
                (pixels.brightness, self.colour.brightness),
                (pixels.contrast, self.colour.contrast),
                (pixels.saturation, self.colour.saturation),
            )
            if strength * amount
        ]
        if strength * self.colour.hue:
            factors.append((pixels.hue, draws.each(-strength * self.colour.hue, strength * self.colour.hue)))
        order = draws.order(len(factors))

        def coloured(part: Tensor, who: Tensor) -> Tensor:
            for position in order:
                step, factor = factors[position]
                part = step(part, factor[who])
            return part

        return coloured


class _Draws:
    """Random numbers for `views` views of `size` images: one draw per image, or one per view, which all processes share."""

    def __init__(self, size: int, views: int, one_per_view: bool, source: Draws):
        self.total = size * views
        self.drawn = views if one_per_view else self.total
        self.source = source.for_all() if one_per_view else source
        self.device = source.device

    def spread(self, drawn: Tensor) -> Tensor:
        """Expand draws to all images: (drawn, …) → (total, …)."""
        return drawn if self.drawn == self.total else drawn.repeat_interleave(self.total // self.drawn, dim=0)

    def uniform(self, low: float, high: float, *more: int) -> Tensor:
        """(drawn, *more)."""
        return self.source.uniform(self.drawn, *more).mul_(high - low).add_(low)

    def log_uniform(self, low: float, high: float) -> Tensor:
        """(drawn,)."""
        return self.uniform(math.log(low), math.log(high)).exp()

    def each(self, low: float, high: float) -> Tensor:
        """(total,)."""
        return self.spread(self.uniform(low, high))

    def each_log(self, low: float, high: float) -> Tensor:
        """(total,)."""
        return self.spread(self.log_uniform(low, high))

    def order(self, length: int) -> list[int]:
        return torch.randperm(length, generator=self.source.source, device=self.device).tolist()

    def coin(self, p: float) -> Tensor:
        """True with probability `p`, for matrices: (drawn, 1, 1)."""
        return (self.uniform(0, 1) < p).view(-1, 1, 1)

    def where(self, p: float, matrices: Tensor, otherwise: Tensor) -> Tensor:
        """These matrices with probability `p`, else the others."""
        return matrices if p >= 1 else torch.where(self.coin(p), matrices, otherwise)

    def some(self, p: float, images: Tensor, step: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Apply a step to each image with probability `p`; the others cost nothing and stay in place."""
        who = (self.each(0, 1) < p).nonzero()[:, 0]
        if len(who) == len(images):
            return step(images, who)
        return images.index_copy_(0, who, step(images[who], who)) if len(who) else images
