"""A convolutional denoiser for images that are too large for one layer over all pixels."""

from __future__ import annotations

import math

from stlcore.checks import check_count
from stlcore.lazy import extra
from stlcore.learners.diffusion.denoiser import FREQUENCIES, Denoiser, waves

with extra("torch"):
    import torch
    import torch.nn.functional as F
    from torch import Tensor

__all__ = ["ConvolutionalDenoiser"]

GROUPS = 4  # of channels that are brought to mean 0 and variance 1 together


class ConvolutionalDenoiser(Denoiser):
    r"""A small U-Net in place of a residual network.

    All else is that of :class:`~stlcore.learners.diffusion.denoiser.Denoiser`.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the images, and 3 for colour, as in the pixels of
        :class:`~stlcore.data.images.Images`; a point is such an image in one row.
    width : int
        Channels at full resolution, a multiple of 4; half the resolution has twice as many.
    blocks : int
        Residual blocks of two convolutions, at each of three places: full resolution, half, full.
    **settings
        ``steps``, ``batch``, ``rate`` and ``average`` of the residual network.

    Raises
    ------
    ValueError
        If height or width is odd, the width is not a multiple of 4, or a setting is one that the
        residual network refuses.

    Notes
    -----
    The form is that of Ronneberger, Fischer and Brox (2015) with the residual blocks of Ho, Jain
    and Abbeel (2020), without attention. Repetitions are groups of the convolutions.
    """

    def __init__(
        self, shape: tuple[int, ...], width: int = 32, blocks: int = 1, **settings
    ) -> None:
        super().__init__(width, blocks, **settings)
        self.shape = tuple(check_count("a side of an image", side) for side in shape)
        if len(self.shape) not in (2, 3) or self.shape[0] % 2 or self.shape[1] % 2:
            raise ValueError(
                "images need (height, width) or (height, width, colours), both sides even, "
                f"not {self.shape}: pad them by one pixel"
            )
        if self.width % GROUPS:
            raise ValueError(f"the width must be a multiple of {GROUPS}, not {self.width}")
        self.units = self.width * self.shape[0] * self.shape[1]

    def _network(self, weights, x: Tensor, level: Tensor) -> Tensor:
        repetitions, n, _ = x.shape
        high, wide, *colours = self.shape
        weights = iter(weights)

        def convolve(images: Tensor, bias: bool = True) -> Tensor:
            kernel = next(weights)
            offset = next(weights).flatten() if bias else None
            pad = kernel.shape[-1] // 2
            kernel = kernel.flatten(0, 1)
            return F.conv2d(images, kernel, offset, padding=pad, groups=repetitions)

        def block(images: Tensor) -> Tensor:
            hidden = convolve(F.silu(even(images))) + convolve(told, bias=False)
            return images + convolve(F.silu(even(hidden)))

        def even(images: Tensor) -> Tensor:
            return F.group_norm(images, GROUPS * repetitions)

        def blocks(images: Tensor) -> Tensor:
            for _ in range(self.blocks):
                images = block(images)
            return images

        told = waves(level).transpose(0, 1).flatten(1)[..., None, None]
        told = F.silu(convolve(told))
        x = x.transpose(0, 1).reshape(n, repetitions, high, wide, *colours or (1,))
        x = convolve(x.permute(0, 1, 4, 2, 3).flatten(1, 2))
        full = blocks(x)
        half = blocks(convolve(F.avg_pool2d(full, 2)))
        full = blocks(full + F.interpolate(convolve(half), scale_factor=2))
        out = convolve(F.silu(even(full)))
        out = out.unflatten(1, (repetitions, -1)).permute(1, 0, 3, 4, 2)
        return out.flatten(2)

    def _start(self, points: Tensor, rng: torch.Generator) -> list[Tensor]:
        """Kernels and offsets in the order in which the network takes them."""
        repetitions, _, d = points.shape
        if d != math.prod(self.shape):
            raise ValueError(f"the points have {d} coordinates, images of {self.shape} do not")
        colours, width = (*self.shape, 1)[2], self.width
        weights = []

        def kernel(before: int, after: int, side: int, size: float = 1.0, bias: bool = True):
            shape = (repetitions, after, before, side, side)
            draw = torch.randn(shape, generator=rng, device=points.device)
            weights.append(size / math.sqrt(before * side**2) * draw)
            if bias:
                weights.append(torch.zeros(repetitions, after, device=points.device))

        def blocks(channels: int):
            for _ in range(self.blocks):
                kernel(channels, channels, 3)
                kernel(width, channels, 1, bias=False)  # of the noise level
                kernel(channels, channels, 3, size=0.0)

        kernel(2 * FREQUENCIES, width, 1)
        kernel(colours, width, 3)
        blocks(width)
        kernel(width, 2 * width, 1)
        blocks(2 * width)
        kernel(2 * width, width, 1)
        blocks(width)
        kernel(width, colours, 3, size=0.0)
        return [weight.requires_grad_() for weight in weights]
